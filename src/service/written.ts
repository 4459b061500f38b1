import type { ServerResponse } from 'node:http'
import { holdResponse } from '../http/hold.ts'
import type { Plan } from '../scope/graph.ts'
import type { Scope } from '../scope/scope.ts'
import { endAndRelease, openIn, streamsError } from './handler-scope.ts'
import type { Visit } from './visit.ts'

/** A handler scope that begins before handlers which nobody can see return. */
export interface Before {
  readonly visit: Visit
  readonly plan: Plan
  readonly response: ServerResponse
  /** Takes what the closing failed with: nothing of the answer has left then. */
  readonly fail: (error: unknown) => void
}

/**
 * Begins a handler scope and opens what is wanted in it. It ends when the response is ended, which is held until then; not
 * well, when the client has left before. The request's scope closes after it.
 *
 * @throws an opener's own error; why the signal was aborted, when the client has left meanwhile
 */
export async function endWithResponse(before: Before): Promise<void> {
  const { visit, plan, response } = before
  visit.handlerBegins()
  const scope = visit.enterHandler()
  try {
    await openIn(visit, plan)
    // Its end has been told, and will not be told again
    if (response.destroyed) throw visit.signal.reason
  } catch (error) {
    await visit.endFailed(scope, { ok: false, error })
    visit.handlerEnds()
    throw error
  }
  hold(before, scope)
}

/** What keeps the headers of an answer until it is sent: Fastify's reply. */
export interface Headed {
  getHeaders(): object
  removeHeader(name: string): unknown
  headers(values: never): unknown
}

/** Makes the headers those that were there before an answer that is not to be given. */
export function resetHeaders(headed: Headed, before: object): void {
  for (const name of Object.keys(headed.getHeaders())) headed.removeHeader(name)
  headed.headers(before as never)
}

function hold({ visit, plan, response, fail }: Before, scope: Scope): void {
  const held = holdResponse(response, () => {
    const error = streamsError(plan)
    visit.fail(error)
    return error
  })
  const over = (closing: Promise<void>): void =>
    void closing.catch(fail).finally(() => visit.handlerEnds())
  const left = (): void => {
    held.whenEnded = undefined
    held.discard()
    over(visit.endFailed(scope, { ok: false, error: visit.signal.reason }))
  }
  response.once('close', left)
  held.whenEnded = () => {
    response.off('close', left)
    held.returned()
    over(endAndRelease(visit, scope, held))
  }
}

import type { ServerResponse } from 'node:http'
import { holdResponse, type Held } from '../http/hold.ts'
import type { Plan } from '../scope/graph.ts'
import type { Scope } from '../scope/scope.ts'
import { endAndRelease, openIn, streamsError } from './handler-scope.ts'
import type { Visit } from './visit.ts'

/** A handler scope that begins before the handlers are called. */
export interface Before {
  readonly visit: Visit
  readonly plan: Plan
  readonly response: ServerResponse
  /** Takes what the closing failed with: nothing of the answer has left then. */
  readonly fail: (error: unknown) => void
}

/**
 * Begins a handler scope and opens what is wanted in it. It ends when the response is ended, which is held until then, and
 * the handlers have returned whose return can be seen; not well, when one of them has failed, or the client has left and
 * none of them has answered. The request's scope closes after it.
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
  new HeldForScope(before, scope).begin()
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

/**
 * The answer that a handler scope waits for. Held by its response, and by its visit.
 *
 * ```
 *    ┌─ a handler has failed: what is held is forgotten, error handlers answer
 *    ▼ │
 * waiting ── the response is ended, and no handler is out ─────────────────────▶ over
 *      └──── its client has left ──▶ gone ── no handler is out ────────────────────▲
 * ```
 */
class HeldForScope {
  readonly #before: Before
  readonly #scope: Scope
  #held: Held
  /** Gone: nobody reads an answer any more. */
  #state: 'waiting' | 'gone' | 'over' = 'waiting'

  constructor(before: Before, scope: Scope) {
    this.#before = before
    this.#scope = scope
    this.#held = this.#hold()
  }

  begin(): void {
    const { visit, response } = this.#before
    response.once('close', this.#leaves)
    visit.whenFailed = () => this.#holdAnew()
  }

  #hold(): Held {
    const { visit, plan, response } = this.#before
    const held = holdResponse(response, () => {
      const error = streamsError(plan)
      visit.fail(error)
      return error
    })
    held.whenEnded = this.#settle
    return held
  }

  #holdAnew(): void {
    this.#held.discard()
    this.#held = this.#hold()
  }

  readonly #leaves = (): void => {
    this.#state = 'gone'
    this.#settle()
  }

  /** All but this one are waited for. */
  readonly #settle = (): void => {
    const handlers = this.#before.visit.handlersIn(1)
    if (handlers) void handlers.then(() => this.#end())
    else this.#end()
  }

  #end(): void {
    const { visit, response, fail } = this.#before
    const held = this.#held
    const isAnswered = held.ended
    // One that has failed is answered anew
    if (this.#state === 'over' || (this.#state === 'waiting' && !isAnswered)) return
    this.#state = 'over'
    visit.whenFailed = undefined
    response.off('close', this.#leaves)
    held.returned()
    const isOurs = visit.transport.refused !== undefined
    const closing = isAnswered || isOurs ? this.#release(held) : this.#abandon(held)
    void closing.catch(fail).finally(() => visit.handlerEnds())
  }

  async #release(held: Held): Promise<void> {
    const { visit } = this.#before
    const { failure, transport } = visit
    if (!failure || transport.refused) return endAndRelease(visit, this.#scope, held)
    await visit.endFailed(this.#scope, { ok: false, ...failure, ...statusOf(held) })
    held.release()
  }

  #abandon(held: Held): Promise<void> {
    const { visit } = this.#before
    held.discard()
    const { error } = visit.failure ?? { error: visit.signal.reason as unknown }
    return visit.endFailed(this.#scope, { ok: false, error })
  }
}

function statusOf(held: Held): { status?: number } {
  const status = held.status()
  return status === undefined ? {} : { status }
}

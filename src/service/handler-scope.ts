import type { ServerResponse } from 'node:http'
import { StewardError } from '../base/errors.ts'
import { holdResponse } from '../http/hold.ts'
import type { Plan } from '../scope/graph.ts'
import { handlerKind } from '../scope/kind.ts'
import type { Scope } from '../scope/scope.ts'
import type { Visit } from './visit.ts'

/** What is injected into a handler, and how that is called. */
export interface Injecting {
  readonly visit: Visit
  readonly plan: Plan
  /** Calls the handler. */
  handle(values: Record<string, unknown>): unknown
}

/** An answer that is kept back until the handler's scope has closed. */
export interface Kept {
  /** Its status, as far as the handler has chosen one. */
  status(): number | undefined
  /** The handler has returned. */
  returned(): void
  /** It may leave. */
  release(): void
  /** It is not to be given. */
  discard(): void
}

/** Begins to keep an answer back; `streams` makes the error of whoever streams meanwhile. */
export type Keep = (streams: () => StewardError) => Kept

/**
 * Opens what is wanted and calls the handler, who is out until it has settled. The outermost one that wants a handler scope
 * begins it and ends it: between the handler's return and the head of the response, which `keep` keeps back meanwhile.
 *
 * @throws an opener's own error, the handler's, that of the commit: it is the framework's to answer
 */
export async function handleInScope(injecting: Injecting, keep: Keep): Promise<unknown> {
  const { visit, plan } = injecting
  visit.handlerBegins()
  try {
    if (plan.kind !== handlerKind || visit.handlerScope) return await inScope(injecting)
    return await inHandlerScope(injecting, keep)
  } catch (error) {
    visit.fail(error)
    throw error
  } finally {
    visit.handlerEnds()
  }
}

/** Keeps back a response of Node's, in which the handler writes. */
export function keepResponse(response: ServerResponse): Keep {
  return (streams) => holdResponse(response, streams)
}

async function inScope({ visit, plan, handle }: Injecting): Promise<unknown> {
  await openIn(visit, plan)
  return handle(visit.scopeFor(plan).pick(plan))
}

/** Opens a plan for a request. @throws an opener's own error */
export async function openIn(visit: Visit, plan: Plan): Promise<void> {
  try {
    const opening = visit.open(plan)
    if (opening) await opening
  } catch (error) {
    throw visit.ownError(error, plan)
  }
}

async function inHandlerScope(injecting: Injecting, keep: Keep): Promise<unknown> {
  const { visit } = injecting
  const scope = visit.enterHandler()
  return endWithHandler({ ...injecting, scope, work: () => inScope(injecting) }, keep)
}

/** A handler scope, and the rest of what is done in it. */
export interface WorkInScope extends Pick<Injecting, 'visit' | 'plan'> {
  readonly scope: Scope
  work(): unknown
}

/** Ends a handler scope when the rest of the work in it has been done. @throws what that failed with, or the commit */
export async function endWithHandler(
  { visit, plan, scope, work }: WorkInScope,
  keep: Keep,
): Promise<unknown> {
  const kept = keep(() => streamsError(plan))
  let given: unknown
  try {
    given = await work()
  } catch (error) {
    await visit.endFailed(scope, { ok: false, error })
    kept.discard()
    throw error
  }
  kept.returned()
  await endAndRelease(visit, scope, kept)
  return given
}

/** Ends a handler scope; its answer leaves if the closing went well. @throws what that failed with */
export async function endAndRelease(visit: Visit, scope: Scope, kept: Kept): Promise<void> {
  visit.leaveHandler()
  const status = kept.status()
  const known = status === undefined ? {} : { status }
  // A client that was told 503 in the handler's place must not find its work done
  const { refused } = visit.transport
  if (refused) return visit.endFailed(scope, { ok: false, status: 503, error: refused })
  if (status !== undefined && status >= 400) {
    await visit.endFailed(scope, { ok: false, ...known, ...visit.failure })
    return kept.release()
  }
  visit.transport.committing = true
  try {
    await scope.end({ ok: true, ...known })
    kept.release()
  } catch (error) {
    kept.discard()
    throw error
  } finally {
    visit.transport.committing = false
  }
}

/** The error of a handler that streams while resources of its own scope are open: it names them. */
export function streamsError(plan: Plan): StewardError {
  const names = plan.steps
    .filter((step) => step.kind === handlerKind)
    .map((step) => `"${step.name}"`)
  return new StewardError(
    'ERR_HANDLER_STREAMS',
    `Cannot stream while ${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} open: it closes before the response leaves; use perRequest for what a stream needs, or answer in one piece of at most 1 MiB`,
  )
}

/**
 * Refuses a body that would come piece by piece when what it may stand on has closed, and lets go of it.
 *
 * @throws `ERR_HANDLER_STREAMS`
 */
export function refuseStream(body: unknown, plan: Plan): void {
  // The response itself, which handlers that have written to it return
  if (typeof body !== 'object' || body === null || 'setHeader' in body) return
  const { pipe, getReader, arrayBuffer } = body as Record<string, unknown>
  const isWeb = typeof getReader === 'function'
  if (typeof pipe !== 'function' && !isWeb && typeof arrayBuffer !== 'function') return
  if (isWeb) void (body as ReadableStream).cancel().catch(() => {})
  else (body as { destroy?(): void }).destroy?.()
  throw streamsError(plan)
}

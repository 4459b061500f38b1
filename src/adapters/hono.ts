import type { Context, MiddlewareHandler } from 'hono'
import { StewardError } from '../base/errors.ts'
import type { Plan } from '../scope/graph.ts'
import { handlerKind, requestKind } from '../scope/kind.ts'
import { input } from '../scope/builtin.ts'
import type { Ending, Fitting, NeedsOf, Resource, Resources, Values } from '../scope/resource.ts'
import type { Scope } from '../scope/scope.ts'
import { openEvery, runningIn } from '../service/answering.ts'
import type { FetchTransport } from '../service/fetches.ts'
import { markInjected } from '../service/injected.ts'
import { ServiceRun } from '../service/run.ts'
import { noService, Visit } from '../service/visit.ts'
import { keepVisit, visitOf } from './hono/visits.ts'
import { injectSocket, SocketPlans } from './hono/websocket.ts'
import type { WebSocketOptions } from '../websocket/handshake.ts'

export { sse } from './hono/sse.ts'
export { socket, websocket } from './hono/websocket.ts'
export type { SseHandler, SseOptions } from './hono/sse.ts'
export type {
  InjectedSocket, Spoken, WebSocketHandler, WebSocketRoute,
} from './hono/websocket.ts' // oxfmt-ignore
export type { SseEvent } from '../http/event-stream.ts'
export type { SseContext } from '../service/streams.ts'
export type { WebSocketOptions } from '../websocket/handshake.ts'
export type { Closed, Socket } from '../websocket/socket.ts'

/** What a Hono app's environment has after `inject(wanted)`: for sub-apps, `new Hono<Injected<typeof wanted>>()`. */
export interface Injected<Wanted extends Resources> {
  Variables: Values<Wanted>
}

/** The scopes that are open around a handler: that of the handler is not, where it speaks over a WebSocket for hours. */
type Around<Wanted> =
  'WebSocket' extends NeedsOf<Wanted> ? 'app' | 'request' : 'app' | 'request' | 'handler'

/** What can be said beside what is wanted: of a WebSocket, where one is injected. */
type OptionsFor<Wanted> =
  'WebSocket' extends NeedsOf<Wanted>
    ? WebSocketOptions
    : '✗ these are options of a WebSocket, and none is injected'

/** Hono's context of the request, as a resource. */
export const context: Resource<Context, 'request', 'Hono context'> = input(requestKind, 'context')

/**
 * A middleware that opens resources for the request and puts their values into `c.var`, typed; path parameters and RPC
 * types stay whole. What is open already costs nothing the second time. Resources of the handler are closed when the
 * handler has returned, before the response leaves: a failing commit becomes the error that the client sees.
 *
 * Where `socket` is among them, or something that stands on it, `options` say how the WebSocket is opened and kept.
 *
 * @throws `ERR_BAD_OPTION`, `ERR_CAPTIVE`; when a request comes, an opener's own error as it is (an `HTTPException` stays one), `ERR_NO_SERVICE` where no
 * service runs, `ERR_KEY_TAKEN` when `c.var` has something else under a key
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { perApp } from 'steward'
 * import { inject } from 'steward/hono'
 *
 * const greeting = perApp(() => 'hello')
 * export const app = new Hono().get('/hello/:name', inject({ greeting }), (c) =>
 *   c.json({ said: `${c.var.greeting}, ${c.req.param('name')}` }),
 * )
 * ```
 */
export function inject<const Wanted extends Resources>(
  wanted: Wanted &
    Fitting<Wanted, Around<Wanted>, 'request' | 'Hono context' | 'WebSocket', 'a Hono handler'>,
  options?: OptionsFor<Wanted>,
): MiddlewareHandler<Injected<Wanted>> {
  const middleware: MiddlewareHandler = (c, next) => {
    const visit = visitOf(c)
    if (!visit) return injectAlone({ c, next, plans })
    const plan = plans.in(visit.host.app)
    const injecting = { c, next, visit, plan }
    if (!plans.wantSocket) return injectInto(injecting)
    return injectSocket(injectInto, { ...injecting, plans })
  }
  // It says what is wrong with what is wanted, before plans are made of that
  const marked = markInjected(middleware, wanted) as MiddlewareHandler<Injected<Wanted>>
  const plans = new SocketPlans(wanted, options as WebSocketOptions | undefined)
  return marked
}

interface Injecting {
  readonly c: Context
  readonly next: () => Promise<void>
  readonly visit: Visit
  readonly plan: Plan
}

/** What is open, or opens at once, costs no promise of ours. */
function injectInto(injecting: Injecting): Promise<void> {
  const { c, next, visit, plan } = injecting
  visit.context ??= c
  if (visit.context !== c) return injectMounted(injecting)
  if (plan.kind === handlerKind && !visit.handlerScope) return injectHandler(injecting)
  const opening = openNow(visit, plan)
  if (opening) return injectLater(opening, injecting)
  setVariables(c, plan, visit.scopeFor(plan))
  return next()
}

async function injectLater(
  opening: Promise<void>,
  { c, next, visit, plan }: Injecting,
): Promise<void> {
  try {
    await opening
  } catch (error) {
    throw visit.ownError(error, plan)
  }
  setVariables(c, plan, visit.scopeFor(plan))
  // Returning the promise would cost two more
  await next()
}

/** @throws an opener's own error, when it was thrown at once */
function openNow(visit: Visit, plan: Plan): Promise<void> | undefined {
  try {
    return visit.open(plan)
  } catch (error) {
    throw visit.ownError(error, plan)
  }
}

/** A mounted app has a context of its own, for the same request. */
async function injectMounted(injecting: Injecting): Promise<void> {
  const { c, visit } = injecting
  const outer = visit.context
  visit.context = c
  try {
    await injectInto(injecting)
  } finally {
    visit.context = outer
  }
  if (c.error) visit.transport.fail(c.error)
}

/** The outermost one that wants a handler scope begins it and ends it: between the handler's return and the response's head. */
async function injectHandler({ c, next, visit, plan }: Injecting): Promise<void> {
  const scope = visit.enterHandler()
  try {
    // A handler scope is open now: it is nested in that
    await injectInto({ c, next, visit, plan })
  } catch (error) {
    await visit.endFailed(scope, { ok: false, error })
    throw error
  }
  const ending = endingOf(c, visit)
  if (!ending.ok) return visit.endFailed(scope, ending)
  visit.leaveHandler()
  visit.transport.committing = true
  try {
    const ended = scope.end(ending)
    if (ended) await ended
    // It stays set: what comes between here and the head, an outer middleware, must not lose the answer either
  } catch (error) {
    visit.transport.committing = false
    withdrawAnswer(c)
    throw error
  }
}

/**
 * Hono's error handler has answered for what was thrown, and keeps it in `c.error`. Without an answer it will throw yet. A
 * client that was told 503 in the handler's place must not find its work done.
 */
function endingOf(c: Context, { transport: { refused } }: Visit): Ending {
  if (refused) return { ok: false, status: 503, error: refused }
  if (!c.finalized) return { ok: false }
  const { error, res } = c
  const { status } = res
  return error === undefined ? { ok: status < 400, status } : { ok: false, status, error }
}

/** What tells of an answer that is not to be given after all, or hands something out with it. */
const OF_THE_ANSWER = [
  'set-cookie', 'location', 'link', 'refresh', 'etag', 'last-modified', 'cache-control', 'expires', 'content-type',
  'content-length', 'content-encoding', 'content-language', 'content-location', 'content-disposition', 'content-range',
] // oxfmt-ignore

/** Hono puts the headers of the answer before onto that of its error handler: those of a failed commit must not be. */
function withdrawAnswer(c: Context): void {
  const { headers, body } = c.res
  void body?.cancel().catch(() => {})
  const kept = new Headers(headers)
  for (const name of OF_THE_ANSWER) kept.delete(name)
  c.status(500)
  c.res = undefined
  c.res = new Response(null, { status: 500, headers: kept })
}

function setVariables(c: Context, plan: Plan, scope: Scope): void {
  for (const { key, step } of plan.picks) {
    const value = scope.valueOf(step)
    const before: unknown = c.get(key)
    if (before !== undefined && !Object.is(before, value)) throw keyTaken(key)
    c.set(key, value)
  }
}

interface InjectingAlone extends Pick<Injecting, 'c' | 'next'> {
  readonly plans: SocketPlans
}

/** `app.request(path, init, running.env)`: the outermost middleware is the first to hear of the request, and ends it. */
async function injectAlone({ c, next, plans }: InjectingAlone): Promise<void> {
  const running = runningIn(c.env)
  if (!(running instanceof ServiceRun)) {
    throw noService('pass its environment, app.request(path, init, running.env)')
  }
  const { raw } = c.req
  const transport = running.fetches.begin(raw)
  const visit = new Visit(running, transport, raw)
  keepVisit(c, visit)
  try {
    const { everyRequest, app } = running
    if (everyRequest) await openEvery(visit, app.graph.plan(everyRequest))
    await injectInto({ c, next, visit, plan: plans.in(app) })
  } catch (error) {
    transport.fail(error)
    await transport.end()
    throw error
  }
  await answer(c, transport)
}

/** The scope ends when the answer's body has been read. That of an answer to HEAD, nobody reads. */
async function answer(c: Context, transport: FetchTransport): Promise<void> {
  const response = transport.answer(c.res)
  if (c.req.raw.method === 'HEAD') await response.body?.cancel()
  // Hono's setter merges the headers of the response before; they are the same
  else if (response !== c.res) c.res = response
}

function keyTaken(key: string): StewardError {
  return new StewardError(
    'ERR_KEY_TAKEN',
    `Cannot inject "${key}": c.var has another value under this name already; give one of the two another name, inject({ other: … })`,
  )
}

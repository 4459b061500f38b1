import type { Context, MiddlewareHandler } from 'hono'
import { describe, StewardError } from '../base/errors.ts'
import type { Plan } from '../scope/graph.ts'
import { handlerKind, requestKind } from '../scope/kind.ts'
import { input } from '../scope/builtin.ts'
import type { Ending, Fitting, Resource, Resources, Values } from '../scope/resource.ts'
import type { Scope } from '../scope/scope.ts'
import { runningIn } from '../service/answering.ts'
import type { FetchTransport } from '../service/fetches.ts'
import { markInjected } from '../service/injected.ts'
import { ServiceRun } from '../service/running.ts'
import { noService, PlanFor, Visit } from '../service/visit.ts'

/** What a Hono app's environment has after `inject(wanted)`: for sub-apps, `new Hono<Injected<typeof wanted>>()`. */
export interface Injected<Wanted extends Resources> {
  Variables: Values<Wanted>
}

/** Hono's context of the request, as a resource. */
export const context: Resource<Context, 'request', 'Hono context'> = input(requestKind, 'context')

/**
 * A middleware that opens resources for the request and puts their values into `c.var`, typed; path parameters and RPC
 * types stay whole. What is open already costs nothing the second time. Resources of the handler are closed when the
 * handler has returned, before the response leaves: a failing commit becomes the error that the client sees.
 *
 * @throws when a request comes, an opener's own error as it is (an `HTTPException` stays one), `ERR_NO_SERVICE` where no
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
  wanted: Wanted & Fitting<Wanted, 'app' | 'request' | 'handler', 'request' | 'Hono context', 'a Hono handler'>,
): MiddlewareHandler<Injected<Wanted>> {
  if (typeof wanted !== 'object' || wanted === null) {
    throw new StewardError('ERR_BAD_OPTION', `Cannot inject ${describe(wanted)}: pass an object of resources, inject({ pool })`)
  }
  const plans = new PlanFor(wanted)
  const middleware: MiddlewareHandler = async (c, next) => {
    const visit = visitOf(c)
    if (visit) return injectInto({ c, next, visit, plan: plans.in(visit.host.app) })
    await injectAlone(c, (alone) => injectInto({ c, next, visit: alone, plan: plans.in(alone.host.app) }))
  }
  return markInjected(middleware, wanted) as MiddlewareHandler<Injected<Wanted>>
}

interface Injecting {
  readonly c: Context
  readonly next: () => Promise<void>
  readonly visit: Visit
  readonly plan: Plan
}

async function injectInto(injecting: Injecting): Promise<void> {
  const { c, next, visit, plan } = injecting
  visit.extras['context'] ??= c
  if (plan.kind === handlerKind && !visit.handlerScope) return injectHandler(injecting)
  const scope = visit.handlerScope ?? visit.scope
  const opening = visit.open(scope, plan)
  if (opening) await opening
  setVariables(c, plan, scope)
  await next()
  if (c.error) visit.transport.fail(c.error)
}

/** The outermost one that wants a handler scope begins it and ends it: between the handler's return and the response's head. */
async function injectHandler({ c, next, visit, plan }: Injecting): Promise<void> {
  const scope = visit.enterHandler()
  let ending: Ending
  try {
    const opening = visit.open(scope, plan)
    if (opening) await opening
    setVariables(c, plan, scope)
    await next()
    ending = endingOf(c)
  } catch (error) {
    await endFailed(visit, scope, { ok: false, error })
    visit.transport.fail(error)
    throw error
  }
  if (!ending.ok) {
    if (c.error) visit.transport.fail(c.error)
    return endFailed(visit, scope, ending)
  }
  visit.leaveHandler()
  const ended = scope.end(ending)
  if (ended) await ended
}

/** Hono's error handler has answered for what was thrown, and keeps it in `c.error`. */
function endingOf(c: Context): Ending {
  const { error, res } = c
  const { status } = res
  return error === undefined ? { ok: status < 400, status } : { ok: false, status, error }
}

/** The answer has been decided by the failure itself: what the closing adds goes to the log. */
async function endFailed(visit: Visit, scope: Scope, ending: Ending): Promise<void> {
  visit.leaveHandler()
  try {
    await scope.end(ending)
  } catch (error) {
    visit.tell('Closing the handler scope failed', error)
  }
}

function setVariables(c: Context, plan: Plan, scope: Scope): void {
  for (const { key, step } of plan.picks) {
    const value = scope.valueOf(step)
    const before: unknown = c.get(key)
    if (before !== undefined && !Object.is(before, value)) throw keyTaken(key)
    c.set(key, value)
  }
}

const visits = new WeakMap<Request, Visit>()

/** The visit that came with the request: over HTTP and by `running.fetch` it is the execution context. */
function visitOf(c: Context): Visit | undefined {
  const execution = executionOf(c)
  return execution instanceof Visit ? execution : visits.get(c.req.raw)
}

function executionOf(c: Context): unknown {
  try {
    return c.executionCtx
  } catch {
    return undefined // there is none: app.request() without a third argument
  }
}

/** `app.request(path, init, running.env)`: the outermost middleware is the first to hear of the request, and ends it. */
async function injectAlone(c: Context, work: (visit: Visit) => Promise<void>): Promise<void> {
  const running = runningIn(c.env)
  if (!(running instanceof ServiceRun)) throw noService("pass its environment, app.request(path, init, running.env)")
  const transport = running.fetches.begin(c.req.raw)
  const visit = new Visit(running, transport, c.req.raw)
  visits.set(c.req.raw, visit)
  try {
    await work(visit)
    answer(c, transport)
  } catch (error) {
    transport.fail(error)
    await transport.end()
    throw error
  }
}

/** The scope ends when the answer's body has been read. */
function answer(c: Context, transport: FetchTransport): void {
  const response = transport.answer(c.res)
  // Hono's setter merges the headers of the response before; they are the same
  if (response !== c.res) c.res = response
}

function keyTaken(key: string): StewardError {
  return new StewardError(
    'ERR_KEY_TAKEN',
    `Cannot inject "${key}": c.var has another value under this name already; give one of the two another name, inject({ other: … })`,
  )
}

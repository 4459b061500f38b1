import type { NextFunction, Request, RequestHandler, Response } from 'express'
import type { IncomingMessage } from 'node:http'
import { describe, StewardError } from '../base/errors.ts'
import { holdResponse } from '../http/hold.ts'
import { input } from '../scope/builtin.ts'
import type { Plan } from '../scope/graph.ts'
import { handlerKind, requestKind } from '../scope/kind.ts'
import type { Fitting, Resource, Resources, Values } from '../scope/resource.ts'
import { visitOf } from '../service/answering.ts'
import { handleInScope, openIn, type Keep } from '../service/handler-scope.ts'
import { markInjected } from '../service/injected.ts'
import { Taking } from '../service/taking.ts'
import { noService, PlanFor, wrongDoor, type Visit } from '../service/visit.ts'
import { endWithResponse } from '../service/written.ts'
import { followHandlers } from './express/handlers.ts'

/** Express's response, as a resource; its `req` is Express's request. */
export const res: Resource<Response, 'request', 'Express response'> = input(requestKind, 'res')

/** Resources that fit into an Express handler; what does not is refused in words. */
type FittingExpress<Wanted> = Fitting<
  Wanted,
  'app' | 'request' | 'handler',
  'request' | 'Express response' | 'Node response',
  'an Express handler'
>

/** A middleware, of an app, a router or a route, that opens resources for the handlers behind it. */
export interface ExpressInjection<Wanted> {
  (request: IncomingMessage, response: object, next: (error?: unknown) => void): void
  /** The values, in a handler behind it. @throws `ERR_NOT_INJECTED` */
  of(request: IncomingMessage): Values<Wanted>
}

/** What a body may be when nobody says: as in Express's own types. */
// oxlint-disable-next-line no-explicit-any -- see above
type AnyBody = any

/**
 * A handler with its resources, or a middleware whose handlers take them with `of`; for Express 5 and 4. While a resource of
 * the handler is open, a response that is written in one piece (up to 1 MiB) is held until it has closed, so that a failing
 * commit goes to Express's error handlers; a handler that streams is told to use `perRequest`.
 *
 * The handler's resources close when it has returned; behind a middleware, when the response is ended and the handlers have
 * returned. Those of routes are waited for since Express 5.3, which tells of them; an older one does not.
 *
 * The compiler takes path parameters from the path through a middleware only; a handler has them as strings under any name,
 * or as its own annotation says: `req: Request<{ id: string }>`.
 *
 * @throws when a request comes, into `next`: an opener's own error as it is, `ERR_NO_SERVICE` where no service runs; into the
 * handler, `ERR_HANDLER_STREAMS`
 * @example
 * ```ts
 * import express from 'express'
 * import { perApp, service } from 'steward'
 * import { inject } from 'steward/express'
 *
 * const greeting = perApp(() => 'hello')
 * const web = perApp(() => {
 *   const app = express()
 *   app.get('/hello/:name', inject({ greeting }, (req, res, { greeting }) => {
 *     res.send(`${greeting}, ${req.params.name}`)
 *   }))
 *   return app
 * })
 * export default service({ app: web })
 * ```
 */
export function inject<const Wanted extends Resources>(
  wanted: Wanted & FittingExpress<Wanted>,
): ExpressInjection<Wanted>
export function inject<
  const Wanted extends Resources,
  Params = Record<string, string>,
  ResponseBody = AnyBody,
  RequestBody = AnyBody,
  Query = Request['query'],
  Locals extends Record<string, AnyBody> = Record<string, AnyBody>,
>(
  wanted: Wanted & FittingExpress<Wanted>,
  handler: (
    request: Request<Params, ResponseBody, RequestBody, Query, Locals>,
    response: Response<ResponseBody, Locals>,
    values: Values<Wanted>,
  ) => unknown,
): RequestHandler<Params, ResponseBody, RequestBody, Query, Locals>
export function inject(wanted: Resources, handler?: unknown): unknown {
  if (handler === undefined) return middleware(wanted)
  if (typeof handler === 'function') return withResources(wanted, handler as AnyHandler)
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot inject into ${describe(handler)}: pass the handler, inject({ … }, (req, res, { … }) => …), or nothing for a middleware`,
  )
}

type AnyHandler = (request: Request, response: Response, values: object) => unknown

function withResources(wanted: Resources, handler: AnyHandler): RequestHandler {
  const plans = new PlanFor(wanted)
  const listener: RequestHandler = (request, response, next) => {
    checkDoor(request, next)
    const handled = async (): Promise<unknown> => {
      const visit = visitFor(request, response)
      const handle = (values: object): unknown => handler(request, response, values)
      return handleInScope(
        { visit, plan: plans.in(visit.host.app), handle },
        keepResponse(response),
      )
    }
    handled().catch(failWith(next))
  }
  return markInjected(listener, wanted)
}

/** What Express takes for no error, or for a word of its own, is one here too. */
function failWith(next: NextFunction): (error: unknown) => void {
  return (error) => next(error ?? new Error(`${describe(error)} was thrown`))
}

/** Thrown at once, since there is no `next` to hand it to. */
function checkDoor(request: Request, next: unknown): void {
  if (!request?.rawHeaders || typeof next !== 'function') throw wrongDoor('Express', request)
}

function visitFor(request: Request, response: Response): Visit {
  const visit = visitOf(request)
  if (!visit) throw noService('give the app itself to service({ app })')
  visit.routed = request as { params: Record<string, string> }
  visit.res = response
  visit.response ??= response
  return visit
}

/** Keeps a response back; a file would be streamed from where nobody catches. */
function keepResponse(response: Response): Keep {
  return (streams) => {
    const held = holdResponse(response, streams)
    const refuse = (): never => {
      throw streams()
    }
    for (const name of FILES) Object.defineProperty(response, name, asOwn(refuse))
    const allow = (): void => FILES.forEach((name) => void Reflect.deleteProperty(response, name))
    return {
      status: () => held.status(),
      returned: () => (allow(), held.returned()),
      release: () => (allow(), held.release()),
      discard: () => (allow(), held.discard()),
    }
  }
}

/** `download` uses the first; Express 4 has the second. */
const FILES = ['sendFile', 'sendfile']

function asOwn(value: unknown): PropertyDescriptor {
  return { value, configurable: true, writable: true }
}

function middleware(wanted: Resources): ExpressInjection<Resources> {
  const plans = new PlanFor(wanted)
  const taking = new Taking<Values<Resources>>(wanted, 'put app.use(deps) before its route')
  const before = (request: Request, response: Response, next: NextFunction): void => {
    checkDoor(request, next)
    const fail = failWith(next)
    const open = async (): Promise<void> => {
      const visit = visitFor(request, response)
      followHandlers(request, visit)
      const plan = plans.in(visit.host.app)
      await openBefore({ visit, plan, response, fail })
      taking.keep(request, visit.scopeFor(plan).pick(plan))
    }
    open().then(() => next(), fail)
  }
  const injection = Object.assign(before, { of: (request: Request) => taking.of(request) })
  return markInjected(injection, wanted) as ExpressInjection<Resources>
}

interface OpeningBefore {
  readonly visit: Visit
  readonly plan: Plan
  readonly response: Response
  readonly fail: (error: unknown) => void
}

async function openBefore({ visit, plan, response, fail }: OpeningBefore): Promise<void> {
  try {
    if (plan.kind !== handlerKind || visit.handlerScope) return await openIn(visit, plan)
    await endWithResponse({ visit, plan, response, fail })
  } catch (error) {
    visit.fail(error)
    throw error
  }
}

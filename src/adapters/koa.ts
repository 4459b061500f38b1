import type { Next, ParameterizedContext } from 'koa'
import type { IncomingMessage } from 'node:http'
import { describe, StewardError } from '../base/errors.ts'
import { holdResponse, type Held } from '../http/hold.ts'
import { input } from '../scope/builtin.ts'
import { requestKind } from '../scope/kind.ts'
import type { Fitting, Resource, Resources, Values } from '../scope/resource.ts'
import { visitOf } from '../service/answering.ts'
import { handleInScope, refuseStream, type Keep, type Kept } from '../service/handler-scope.ts'
import { markInjected } from '../service/injected.ts'
import { Taking } from '../service/taking.ts'
import { noService, PlanFor, wrongDoor, type Visit } from '../service/visit.ts'

/** Koa's context of the request, as a resource. */
export const ctx: Resource<ParameterizedContext, 'request', 'Koa context'> = input(
  requestKind,
  'ctx',
)

/** Resources that fit into a Koa handler; what does not is refused in words. */
type FittingKoa<Wanted> = Fitting<
  Wanted,
  'app' | 'request' | 'handler',
  'request' | 'Koa context' | 'Node response',
  'a Koa handler'
>

/** What of a context the door needs, whatever its state. */
interface AnyContext {
  readonly req: IncomingMessage
}

/** A middleware, of an app, a router or a route, that opens resources for those behind it. */
export interface KoaInjection<Wanted> {
  (ctx: AnyContext, next: () => Promise<unknown>): Promise<unknown>
  /** The values, in a handler behind it. @throws `ERR_NOT_INJECTED` */
  of(ctx: AnyContext): Values<Wanted>
}

/**
 * A handler with its resources, or a middleware whose handlers take them with `of`. Resources of the handler close when it
 * has returned, or all behind the middleware have, before Koa answers: a failing commit is thrown to the middlewares around,
 * and is the client's 500. A body that is a stream is told to use `perRequest`.
 *
 * @throws when a request comes, an opener's own error as it is, `ERR_NO_SERVICE` where no service runs,
 * `ERR_HANDLER_STREAMS` for a stream while resources of the handler are open
 * @example
 * ```ts
 * import Koa from 'koa'
 * import { perApp, service } from 'steward'
 * import { inject } from 'steward/koa'
 *
 * const greeting = perApp(() => 'hello')
 * const app = new Koa()
 * app.use(inject({ greeting }, (ctx, { greeting }) => {
 *   ctx.body = greeting
 * }))
 * export default service({ app })
 * ```
 */
export function inject<const Wanted extends Resources>(
  wanted: Wanted & FittingKoa<Wanted>,
): KoaInjection<Wanted>
export function inject<
  const Wanted extends Resources,
  Context extends object = ParameterizedContext,
>(
  wanted: Wanted & FittingKoa<Wanted>,
  handler: (ctx: Context, values: Values<Wanted>) => unknown,
): (ctx: Context, next: Next) => Promise<unknown>
export function inject(wanted: Resources, handler?: unknown): unknown {
  if (handler === undefined) return middleware(wanted)
  if (typeof handler === 'function') return withResources(wanted, handler as AnyHandler)
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot inject into ${describe(handler)}: pass the handler, inject({ … }, async (ctx, { … }) => …), or nothing for a middleware`,
  )
}

type AnyHandler = (ctx: ParameterizedContext, values: object) => unknown

function withResources(wanted: Resources, handler: AnyHandler): object {
  const plans = new PlanFor(wanted)
  const handle = (ctx: ParameterizedContext): Promise<unknown> =>
    around(ctx, plans, (values) => handler(ctx, values))
  return markInjected(handle, wanted)
}

function middleware(wanted: Resources): KoaInjection<Resources> {
  const plans = new PlanFor(wanted)
  const taking = new Taking<Values<Resources>>(wanted, 'put app.use(deps) before its route')
  const handle = (ctx: ParameterizedContext, next: Next): Promise<unknown> =>
    around(ctx, plans, (values) => {
      taking.keep(ctx.req, values as Values<Resources>)
      return next()
    })
  const injection = Object.assign(handle, { of: ({ req }: AnyContext) => taking.of(req) })
  return markInjected(injection, wanted) as KoaInjection<Resources>
}

async function around(
  ctx: ParameterizedContext,
  plans: PlanFor,
  work: (values: object) => unknown,
): Promise<unknown> {
  const visit = visitFor(ctx)
  const plan = plans.in(visit.host.app)
  const answer = new Answer(ctx)
  const handle = async (values: object): Promise<void> => {
    await work(values)
    if (answer.isKept) refuseStream(ctx.body, plan)
  }
  return handleInScope({ visit, plan, handle }, answer.keep)
}

function visitFor(ctx: ParameterizedContext): Visit {
  if (!ctx?.req?.rawHeaders) throw wrongDoor('Koa', ctx)
  const visit = visitOf(ctx.req)
  if (!visit) throw noService('give the app itself to service({ app })')
  visit.routed = new Routed(ctx)
  visit.ctx = ctx
  visit.response ??= ctx.res
  return visit
}

/** A router puts the parameters into the context, when it has come to the route. */
class Routed {
  readonly #ctx: { readonly params?: Readonly<Record<string, string>> }

  constructor(ctx: object) {
    this.#ctx = ctx
  }

  get params(): Readonly<Record<string, string>> {
    return this.#ctx.params ?? {}
  }
}

/** What a context will answer. Koa writes it when every middleware has returned; a handler may write by itself before. */
class Answer implements Kept {
  readonly #ctx: ParameterizedContext
  #held: Held | undefined
  #isReturned = false

  constructor(ctx: ParameterizedContext) {
    this.#ctx = ctx
  }

  /** Keeps it back from now on. */
  readonly keep: Keep = (streams) => {
    this.#held = holdResponse(this.#ctx.res, streams)
    return this
  }

  get isKept(): boolean {
    return this.#held !== undefined
  }

  status(): number | undefined {
    const written = this.#held?.status()
    return written ?? (this.#ctx.respond === false ? undefined : this.#ctx.status)
  }

  returned(): void {
    this.#isReturned = true
    this.#held?.returned()
  }

  release(): void {
    this.#held?.release()
  }

  discard(): void {
    this.#held?.discard()
    if (!this.#isReturned) return
    // Whoever catches the failure must not send the answer with it
    this.#ctx.body = undefined
    this.#ctx.status = 500
  }
}

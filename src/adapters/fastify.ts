import type {
  ContextConfigDefault, FastifyBaseLogger, FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest,
  FastifySchema, FastifyTypeProvider, FastifyTypeProviderDefault, RawReplyDefaultExpression, RawRequestDefaultExpression,
  RawServerBase, RawServerDefault, RouteGenericInterface, RouteHandlerMethod, RouteOptions,
} from 'fastify' // oxfmt-ignore
import { StewardError } from '../base/errors.ts'
import { holdResponse, type Held } from '../http/hold.ts'
import { input } from '../scope/builtin.ts'
import type { Plan } from '../scope/graph.ts'
import { handlerKind, requestKind } from '../scope/kind.ts'
import type { Fitting, Resource, Resources, Values } from '../scope/resource.ts'
import type { Scope } from '../scope/scope.ts'
import { runningAt, visitOf } from '../service/answering.ts'
import {
  endWithHandler, handleInScope, openIn, refuseStream, type Kept,
} from '../service/handler-scope.ts' // oxfmt-ignore
import { markInjected, tellInjected } from '../service/injected.ts'
import { ServiceRun } from '../service/run.ts'
import { visitSimulated } from '../service/simulated.ts'
import { Taking } from '../service/taking.ts'
import { noService, PlanFor, wrongDoor, type Visit } from '../service/visit.ts'
import { resetHeaders } from '../service/written.ts'

/** Fastify's reply, as a resource; its `request` is Fastify's. */
export const reply: Resource<FastifyReply, 'request', 'Fastify reply'> = input(requestKind, 'reply')

/** Resources that fit into a Fastify handler; what does not is refused in words. */
type FittingFastify<Wanted> = Fitting<
  Wanted,
  'app' | 'request' | 'handler',
  'request' | 'Fastify reply' | 'Node response',
  'a Fastify handler'
>

/** What of a request the door needs, whatever its generics. */
interface AnyRequest {
  readonly raw: object
}

/** A `preHandler`, of a route or of a whole plugin, that opens resources for the handlers behind it. */
export interface FastifyInjection<Wanted> {
  (request: AnyRequest, reply: object): Promise<void>
  /** The values, in a handler behind it. @throws `ERR_NOT_INJECTED` */
  of(request: AnyRequest): Values<Wanted>
}

/**
 * The plugin: it looks at the routes, so that what they inject is open before the first request, and stands around their
 * handlers, so that a `preHandler` that injects knows when the handler has returned. Register it before the routes.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { perApp, service } from 'steward'
 * import steward, { inject } from 'steward/fastify'
 *
 * const greeting = perApp(() => 'hello')
 * const web = perApp(async () => {
 *   const app = Fastify()
 *   await app.register(steward)
 *   app.get('/', inject({ greeting }, async (_request, _reply, { greeting }) => ({ greeting })))
 *   return app
 * })
 * export default service({ app: web })
 * ```
 */
const plugin: FastifyPluginCallback = (app, _options, done) => {
  const instances = new Set<object>()
  const carrier = app.server
  tellInjected(carrier, [])
  app.addHook('onRoute', function (route) {
    instances.add(this)
    tellInjected(carrier, [route.handler, ...hooksOf(route)])
    route.handler = followed(route.handler)
    route.config = Object.assign({}, route.config, { [FOLLOWED]: true })
  })
  app.addHook('onReady', (ready) => {
    for (const instance of instances) tellInjected(carrier, hooksOf(hooksOfPlugin(instance)))
    ready()
  })
  done()
}
const steward: FastifyPluginCallback = Object.assign(plugin, {
  // It is for the plugin that registers it, not for itself
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'steward',
  [Symbol.for('plugin-meta')]: { name: 'steward', fastify: '5.x' },
})
export default steward

const HOOKS = ['onRequest', 'preParsing', 'preValidation', 'preHandler']

function hooksOf(holder: object): unknown[] {
  return HOOKS.flatMap((name) => (holder as Record<string, unknown>)[name] ?? [])
}

/** Those of a whole plugin are in none of its routes; Fastify keeps them under a symbol of its own. */
function hooksOfPlugin(instance: object): object {
  const symbols = Object.getOwnPropertySymbols(instance)
  const own = symbols.find(({ description }) => description === 'fastify.hooks')
  return own ? ((instance as Record<symbol, object>)[own] ?? {}) : {}
}

/**
 * A `preHandler` that opens resources for the request, whose handlers take them with `of`; or a handler with its resources,
 * the route's generics inferred. While a resource of the handler is open, its answer waits until that has closed: a failing
 * commit is Fastify's error, and the client's 500.
 *
 * @throws when a request comes, into Fastify: an opener's own error as it is, `ERR_NO_SERVICE` where no service runs,
 * `ERR_HANDLER_STREAMS` when a handler streams while resources of its own are open
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { perApp } from 'steward'
 * import { inject } from 'steward/fastify'
 *
 * const greeting = perApp(() => 'hello')
 * const deps = inject({ greeting })
 * export const app = Fastify()
 * app.get<{ Params: { name: string } }>('/hello/:name', { preHandler: deps }, async (request) =>
 *   `${deps.of(request).greeting}, ${request.params.name}`,
 * )
 * ```
 */
export function inject<const Wanted extends Resources>(
  wanted: Wanted & FittingFastify<Wanted>,
): FastifyInjection<Wanted>
export function inject<
  const Wanted extends Resources,
  RawServer extends RawServerBase = RawServerDefault,
  RawRequest extends RawRequestDefaultExpression<RawServer> =
    RawRequestDefaultExpression<RawServer>,
  RawReply extends RawReplyDefaultExpression<RawServer> = RawReplyDefaultExpression<RawServer>,
  RouteGeneric extends RouteGenericInterface = RouteGenericInterface,
  ContextConfig = ContextConfigDefault,
  Schema extends FastifySchema = FastifySchema,
  TypeProvider extends FastifyTypeProvider = FastifyTypeProviderDefault,
  Logger extends FastifyBaseLogger = FastifyBaseLogger,
>(
  wanted: Wanted & FittingFastify<Wanted>,
  // oxlint-disable-next-line max-params -- as many as its users expect, and its values
  handler: (
    this: FastifyInstance<RawServer, RawRequest, RawReply, Logger, TypeProvider>,
    request: FastifyRequest<RouteGeneric, RawServer, RawRequest, Schema, TypeProvider, ContextConfig, Logger>,
    reply: FastifyReply<RouteGeneric, RawServer, RawRequest, RawReply, ContextConfig, Schema, TypeProvider>,
    values: Values<Wanted>,
  ) => unknown,
): RouteHandlerMethod<RawServer, RawRequest, RawReply, RouteGeneric, ContextConfig, Schema, TypeProvider, Logger> // oxfmt-ignore
export function inject(wanted: Resources, handler?: unknown): unknown {
  if (handler === undefined) return preHandler(wanted)
  if (typeof handler === 'function') return withResources(wanted, handler as AnyHandler)
  throw new StewardError(
    'ERR_BAD_OPTION',
    'Cannot inject into what is no handler: pass a function, inject({ … }, async (request, reply, { … }) => …), or nothing for a preHandler',
  )
}

// oxlint-disable-next-line max-params -- the same
type AnyHandler = (
  this: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  values: object,
) => unknown

function withResources(wanted: Resources, handler: AnyHandler): RouteOptions['handler'] {
  const plans = new PlanFor(wanted)
  async function handle(this: unknown, request: FastifyRequest, reply: FastifyReply) {
    const visit = await visitFor(request, reply)
    const plan = plans.in(visit.host.app)
    const answer = new Answer(reply, plan)
    const call = (values: object): unknown =>
      answer.of(() => handler.call(this, request, reply, values))
    return handleInScope({ visit, plan, handle: call }, answer.keep)
  }
  return markInjected(handle, wanted)
}

/** A handler scope that a `preHandler` has begun: the handler ends it. */
interface Begun {
  readonly scope: Scope
  readonly plan: Plan
}

const begun = new WeakMap<Visit, Begun>()

function preHandler(wanted: Resources): FastifyInjection<Resources> {
  const plans = new PlanFor(wanted)
  const advice = "put it among the route's preHandlers, { preHandler: deps }"
  const taking = new Taking<Values<Resources>>(wanted, advice)
  const before = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    // No route wants it
    if (request.is404) return
    const visit = await visitFor(request, reply)
    const plan = plans.in(visit.host.app)
    try {
      if (plan.kind === handlerKind && !visit.handlerScope) await begin(visit, plan, request)
      else await openIn(visit, plan)
    } catch (error) {
      visit.fail(error)
      throw error
    }
    taking.keep(request.raw, visit.scopeFor(plan).pick(plan))
  }
  const injection = Object.assign(before, { of: ({ raw }: AnyRequest) => taking.of(raw) })
  return markInjected(injection, wanted) as FastifyInjection<Resources>
}

async function begin(visit: Visit, plan: Plan, request: FastifyRequest): Promise<void> {
  if (!(FOLLOWED in (request.routeOptions.config as object))) throw notFollowed(plan)
  const scope = visit.enterHandler()
  try {
    await openIn(visit, plan)
  } catch (error) {
    await visit.endFailed(scope, { ok: false, error })
    throw error
  }
  begun.set(visit, { scope, plan })
}

async function visitFor(request: FastifyRequest, reply: FastifyReply): Promise<Visit> {
  if (!request?.raw) throw wrongDoor('Fastify', request)
  const visit = visitOf(request.raw) ?? (await simulate(request, reply))
  visit.routed = request as { params: Record<string, string> }
  visit.reply = reply
  visit.response ??= reply.raw
  return visit
}

/** `app.inject()` in a test, while a service runs the app. */
function simulate({ raw, server }: FastifyRequest, reply: FastifyReply): Promise<Visit> {
  const running = runningAt(server.server)
  if (running instanceof ServiceRun) return visitSimulated(running, raw, reply.raw)
  throw noService('before app.inject() in a test: await start(service({ app }))')
}

/** Tells, in the configuration of a route, that the plugin stands around its handler. */
const FOLLOWED = Symbol('steward.followed')

function notFollowed(plan: Plan): StewardError {
  const names = plan.picks.map(({ key }) => key).join(', ')
  return new StewardError(
    'ERR_BAD_OPTION',
    `Cannot inject { ${names} } before this handler: nothing tells when it has returned; register the plugin of steward/fastify before the routes, await app.register(steward)`,
  )
}

/** Around a handler: it is out until it has settled, though its client has left; what was begun for it ends with it. */
function followed(handler: RouteOptions['handler']): RouteOptions['handler'] {
  return function (request, reply): unknown {
    const visit = visitOf(request.raw)
    const call = (): unknown => handler.call(this, request, reply)
    if (!visit) return call()
    const { scope, plan } = begun.get(visit) ?? {}
    if (!scope || !plan) return callFollowed(visit, call)
    const answer = new Answer(reply, plan)
    const work = (): unknown => answer.of(call)
    return callFollowed(visit, () => endWithHandler({ visit, plan, scope, work }, answer.keep))
  }
}

function callFollowed(visit: Visit, call: () => unknown): unknown {
  const failed = (error: unknown): void => {
    visit.fail(error)
    visit.handlerEnds()
  }
  visit.handlerBegins()
  try {
    const result = call()
    if (result instanceof Promise) result.then(() => visit.handlerEnds(), failed)
    else visit.handlerEnds()
    return result
  } catch (error) {
    failed(error)
    throw error
  }
}

/** What a reply does otherwise while its answer is kept. */
const OWN = ['send', 'sent', 'hijack', 'then']

/**
 * What a handler answers, by returning it or by `reply.send`. While it is kept, neither reaches Fastify: its hooks would
 * write the head.
 */
class Answer implements Kept {
  readonly #reply: FastifyReply
  readonly #plan: Plan
  #held: Held | undefined
  #sent: { readonly payload: unknown } | undefined
  #late: { readonly payload: unknown } | undefined
  #headers: object = {}
  #isReturned = false
  /** The handler writes by itself: Fastify hears of it with the release, or it would answer for no failure. */
  #isHijacked = false

  constructor(reply: FastifyReply, plan: Plan) {
    this.#reply = reply
    this.#plan = plan
  }

  /** Keeps it back from now on. */
  readonly keep = (streams: () => StewardError): Kept => {
    const reply = this.#reply
    this.#headers = reply.getHeaders()
    this.#held = holdResponse(reply.raw, streams)
    const own: Record<string, PropertyDescriptor> = {
      send: { value: (payload: unknown) => this.#send(payload) },
      sent: {
        get: () => this.#sent !== undefined || this.#isHijacked || reply.raw.writableEnded,
      },
      hijack: { value: () => ((this.#isHijacked = true), reply) },
      // It is a promise of its own end, too, which its handler would wait for
      ['then' as string]: { value: undefined },
    }
    for (const name of OWN) Object.defineProperty(reply, name, { ...own[name], configurable: true })
    return this
  }

  /** Calls a handler. Gives what Fastify is to make of it: a payload, or the reply, which will be sent yet. */
  async of(call: () => unknown): Promise<unknown> {
    const result = call()
    const isPromise = typeof (result as PromiseLike<unknown> | null)?.then === 'function'
    const given: unknown = isPromise ? await result : result
    if (this.#sent) return this.#checked(this.#sent.payload)
    return given === undefined && !isPromise ? this.#reply : this.#checked(given)
  }

  status(): number {
    return this.#reply.statusCode
  }

  returned(): void {
    this.#isReturned = true
    this.#held?.returned()
  }

  release(): void {
    this.#letGo()
    if (this.#isHijacked) this.#reply.hijack()
    this.#held?.release()
    if (this.#late) this.#reply.send(this.#late.payload)
  }

  discard(): void {
    const { statusCode } = this.#reply
    this.#letGo()
    this.#held?.discard()
    // A handler that throws has its status and its headers, as ever; a failed commit has none of the answer's
    if (this.#isReturned) resetHeaders(this.#reply, this.#headers)
    else this.#reply.raw.statusCode = statusCode
  }

  #send(payload: unknown): FastifyReply {
    if (this.#sent || this.#late) this.#reply.log.warn('Sent already: what comes now is dropped')
    else if (this.#isReturned) this.#late = { payload }
    else this.#sent = { payload: this.#checked(payload) }
    return this.#reply
  }

  /** @throws the payload, if it is an error: that is what sending one means */
  #checked(payload: unknown): unknown {
    if (!this.#held) return payload
    if (payload instanceof Error) throw payload
    refuseStream(payload, this.#plan)
    return payload
  }

  #letGo(): void {
    for (const name of OWN) Reflect.deleteProperty(this.#reply, name)
  }
}

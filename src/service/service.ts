import { Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'
import { milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import { checkGoodbye } from '../http/goodbyes.ts'
import { upgradeHeaders } from '../http/upgrade.ts'
import {
  definitionOf,
  type AnyResource,
  type Definition,
  type Fitting,
  type Resource,
  type Resources,
  type Values,
} from '../scope/resource.ts'
import type { Hook, Lifespan } from './hooks.ts'

/** An app in web terms: Hono and its like, or `{ fetch }` by hand. */
export interface FetchApp {
  fetch(request: Request, env?: never, context?: never): Response | Promise<Response>
}

/** A Node listener: a bare function is always one. Express apps are, too. */
export type NodeListener = (request: IncomingMessage, response: ServerResponse) => unknown

/** A Fastify app: its plugins are loaded at start, and it is closed when traffic is over. */
export interface FastifyApp {
  readonly server: HttpServer
  ready(): PromiseLike<unknown>
  routing(request: IncomingMessage, response: ServerResponse): void
  close(): PromiseLike<unknown>
}

/** A Koa app. */
export interface KoaApp {
  callback(): NodeListener
  readonly middleware: readonly unknown[]
}

/** A NestJS app, on Express or on Fastify: its lifecycle hooks run at the stages of the service. */
export interface NestApp {
  init(): Promise<unknown>
  close(): Promise<void>
  getHttpServer(): unknown
  getHttpAdapter(): { getInstance(): unknown }
}

/** What a service can serve. A server of `node:http` is one that does not listen: its listeners answer requests, and take upgrades. */
export type ServedApp = FetchApp | NodeListener | HttpServer | FastifyApp | KoaApp | NestApp

/** What `service` takes. Each hook is one function or several. */
export interface ServiceOptions<Held extends Resources, Every extends Resources> {
  /** What answers requests: Hono, Fastify, Express, Koa, NestJS, `{ fetch }`, a `(req, res)` listener, a server of `node:http` that does not listen, or an app resource that gives one of these. */
  app?: ServedApp | Resource<ServedApp, 'app'>
  /** Opened at start even where no route injects them, and handed to the hooks. */
  resources?: Held & Fitting<Held, 'app', never, 'a service'>
  /**
   * What is to be done once, before any worker is started: migrations. In a process of its own under `steward serve`, else in this one
   * before its start. A hook, or an app resource: that opens with what it stands on, and nothing else. What was opened is closed again
   * before the start; what throws ends it.
   */
  prepare?: Hook<Values<Held>> | readonly Hook<Values<Held>>[] | Resource<unknown, 'app'>
  /** Resources are open, nothing listens yet. One that throws ends the start. */
  onStartup?: Hook<Values<Held>> | readonly Hook<Values<Held>>[]
  /** The first moment of the stop: every connection is still open. */
  onShutdown?: Hook<Values<Held>> | readonly Hook<Values<Held>>[]
  /** Traffic is over, resources are still open. */
  onDrained?: Hook<Values<Held>> | readonly Hook<Values<Held>>[]
  /** Both halves in one, around the hooks and the traffic. The code after its `yield` always runs. */
  lifespan?: Lifespan<Values<Held>>
  /** Opened for each request, whatever the route. */
  everyRequest?: Every & Fitting<Every, 'app' | 'request', 'request', 'every request'>
  /**
   * What WebSockets are closed with when the service stops.
   *
   * @default 1012 when it goes on elsewhere or soon again (a rolling restart, a reload), 1001 when not; no reason
   */
  goodbye?: { code?: number; reason?: string }
  /** The one budget for stopping. @default '25s' */
  gracefulTimeout?: Duration
  /** How long everything is still served after readiness has turned, within the budget. @default '0s' */
  drainDelay?: Duration
  /** How it is called in messages. @default 'service' */
  name?: string
}

/** An app, its resources and its hooks, described and not started: `serve` runs it, any number of times. */
export interface Service {
  readonly name: string
}

/** A service as it is inside. Times are in milliseconds. */
export class ServiceDefinition implements Service {
  readonly name: string
  readonly app: ServedApp | AnyResource | undefined
  readonly resources: Resources
  readonly everyRequest: Resources | undefined
  readonly prepare: readonly Hook<never>[] | AnyResource
  readonly onStartup: readonly Hook<never>[]
  readonly onShutdown: readonly Hook<never>[]
  readonly onDrained: readonly Hook<never>[]
  readonly lifespan: Lifespan<never> | undefined
  readonly goodbye: ServiceOptions<{}, {}>['goodbye']
  readonly gracefulTimeout: number
  readonly drainDelay: number

  constructor(options: ServiceOptions<Resources, Resources>) {
    this.name = options.name ?? 'service'
    this.app = options.app
    this.resources = options.resources ?? {}
    this.everyRequest = options.everyRequest
    this.prepare = definitionOf(options.prepare)
      ? (options.prepare as AnyResource)
      : hooksOf(options, 'prepare')
    this.onStartup = hooksOf(options, 'onStartup')
    this.onShutdown = hooksOf(options, 'onShutdown')
    this.onDrained = hooksOf(options, 'onDrained')
    this.lifespan = options.lifespan
    this.goodbye = options.goodbye
    this.gracefulTimeout = milliseconds(options.gracefulTimeout ?? '25s', 'gracefulTimeout')
    this.drainDelay = milliseconds(options.drainDelay ?? '0s', 'drainDelay')
  }

  /** Has it anything to do once, before it is started? */
  get prepares(): boolean {
    return !Array.isArray(this.prepare) || this.prepare.length > 0
  }
}

/**
 * Describes a service: what it serves, what it holds, what happens at its start and its stop. Nothing is started: `serve`
 * and `steward serve` do that.
 *
 * @throws `ERR_BAD_OPTION` for an option that does not exist or has a wrong value, `ERR_APP_NOT_USABLE` for an app that
 * cannot be served
 * @example
 * ```ts
 * import { perApp, service } from 'steward'
 *
 * const greeting = perApp(() => 'hello')
 * export default service({
 *   app: { fetch: () => new Response('hi') },
 *   resources: { greeting },
 *   onStartup: ({ greeting }) => console.log(greeting),
 * })
 * ```
 */
export function service<const Held extends Resources = {}, const Every extends Resources = {}>(
  options: ServiceOptions<Held, Every>,
): Service {
  checkOptions(options)
  return new ServiceDefinition(options as unknown as ServiceOptions<Resources, Resources>)
}

/** The inside of what was given as a service; an app as such becomes a service of its own. @throws `ERR_APP_NOT_USABLE` */
export function serviceOf(given: unknown): ServiceDefinition {
  if (given instanceof ServiceDefinition) return given
  if (isApp(given)) return new ServiceDefinition({ app: given })
  throw notUsable(given)
}

/** Can it be served: is it a function, does it have a `fetch`, or is it an app of a framework that we know? */
export function isApp(app: unknown): app is ServedApp {
  if (typeof app === 'function') return !isClass(app) && !isRouter(app)
  return isFetchApp(app) || isFastifyApp(app) || isKoaApp(app) || isNestApp(app) || isServerApp(app)
}

/** A server whose listeners are the app: `createServer(listener)`, or one that a `WebSocketServer` of its own is on, or both. */
export function isServerApp(app: unknown): app is HttpServer {
  if (!(app instanceof HttpServer) || app.listening) return false
  return app.listenerCount('request') + app.listenerCount('upgrade') > 0
}

/**
 * Hands requests to all who listen to a server: its app, and what has put itself before that, as Socket.IO does. Where nobody does, it is there
 * for upgrades alone, and says so as `ws` does.
 */
export function listenerOf(server: HttpServer): NodeListener {
  return (request, response) => {
    if (server.emit('request', request, response)) return
    response.writeHead(426, upgradeHeaders(response))
    response.end('Upgrade Required')
  }
}

/** An app in web terms is an object with `fetch`; a bare function never is one. */
export function isFetchApp(app: unknown): app is FetchApp {
  return typeof app === 'object' && app !== null && typeof (app as FetchApp).fetch === 'function'
}

/** Not `instanceof`, here and below: frameworks are optional, and a project may have two copies of one. */
export function isFastifyApp(app: unknown): app is FastifyApp {
  return has(app, 'routing', 'ready')
}

/** Is it a Koa app? */
export function isKoaApp(app: unknown): app is KoaApp {
  return has(app, 'callback', 'use') && Array.isArray((app as KoaApp).middleware)
}

/** Is it a NestJS app that answers requests? */
export function isNestApp(app: unknown): app is NestApp {
  return has(app, 'getHttpAdapter', 'init')
}

/** Is it what an app is made of? A factory that nobody has called gives it to its first request. */
export function isMade(given: unknown): boolean {
  if (typeof given === 'function') return has(given, 'handle', 'use')
  return isFetchApp(given) || isFastifyApp(given) || isKoaApp(given) || isNestApp(given)
}

/** Express's and Koa's: an app uses it, and it does not answer without one. */
function isRouter(found: unknown): boolean {
  const isExpress = typeof found === 'function' && has(found, 'handle', 'param')
  return isExpress
    ? Array.isArray((found as { stack?: unknown }).stack)
    : has(found, 'routes', 'allowedMethods')
}

function has(app: unknown, ...methods: string[]): boolean {
  if ((typeof app !== 'object' && typeof app !== 'function') || app === null) return false
  return methods.every((name) => typeof (app as Record<string, unknown>)[name] === 'function')
}

/** The error of something that cannot be served: a module's default export, when `module` is given. */
export function notUsable(found: unknown, module?: string): StewardError {
  const [subject, it] =
    module === undefined
      ? [describe(found), 'it is no app']
      : [`"${module}"`, `its default export is ${describe(found)}, which is no app`]
  return new StewardError(
    'ERR_APP_NOT_USABLE',
    `Cannot serve ${subject}: ${it}; ${adviceOn(found)}`,
  )
}

function isClass(value: unknown): boolean {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value))
}

/** What to give in the place of what was found. */
function adviceOn(found: unknown): string {
  const { then, callback, app } = (found ?? {}) as Record<string, unknown>
  if (typeof then === 'function') {
    return 'it is a promise, await it first, or make the app by a resource, service({ app: perApp(() => createApp()) })'
  }
  if (isClass(found)) return 'it is a class, give an instance of it'
  if (definitionOf(found)) return 'it is a resource, give service({ app }) with it as the app'
  if (isRouter(found)) return 'it is a router, give an app that uses it'
  if (typeof callback === 'function') return 'give its listener, app.callback()'
  if (found instanceof NetServer) {
    return 'it is a server that listens already, has no listener, or is not one of node:http, give the (req, res) listener that it was made with'
  }
  if (has(found, 'enableShutdownHooks', 'close')) {
    return 'it is a NestJS app that answers no HTTP requests, open it by a resource, service({ resources: { worker } })'
  }
  if (isApp(app)) return 'there is an app in it, export that alone, or service({ app })'
  return 'give a service(…), an app of Hono, Fastify, Express, Koa or NestJS, an object with fetch, or a (req, res) listener'
}

const OPTIONS = new Set<string>([
  'app', 'resources', 'prepare', 'onStartup', 'onShutdown', 'onDrained', 'lifespan', 'everyRequest', 'goodbye', 'gracefulTimeout', 'drainDelay', 'name',
] satisfies (keyof ServiceOptions<{}, {}>)[]) // oxfmt-ignore

function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot make a service of ${describe(options)}: pass its options, service({ app })`,
    )
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.has(name))
  if (unknown !== undefined) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot make a service with the option "${unknown}": there is no such option, known are ${[...OPTIONS].join(', ')}`,
    )
  }
  const { app, resources, everyRequest, goodbye, lifespan, name, prepare } = options as Record<
    string,
    unknown
  >
  if (app !== undefined && !isApp(app) && !definitionOf(app)) throw notUsable(app)
  if (lifespan !== undefined && typeof lifespan !== 'function') {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot use ${describe(lifespan)} as "lifespan": write async *lifespan() { …; yield; … }`,
    )
  }
  if (name !== undefined && typeof name !== 'string') {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot use ${describe(name)} as "name": pass a string`,
    )
  }
  checkPrepare(definitionOf(prepare))
  checkGoodbye(goodbye)
  checkRecord('resources', resources)
  checkRecord('everyRequest', everyRequest)
}

/** What is not opened at a start would not run, and nobody would hear of it. */
function checkPrepare(prepare: Definition | undefined): void {
  if (!prepare || (prepare.kind.depth === 0 && !prepare.options.lazy)) return
  const [found, advice] =
    prepare.kind.depth > 0
      ? [`a ${prepare.kind.name} resource`, 'make it one of the app, with perApp']
      : ['a lazy resource', 'take lazy away']
  const message = `Cannot use ${found} as "prepare": it would not open before the start, ${advice}`
  throw new StewardError('ERR_BAD_OPTION', message)
}

function checkRecord(name: string, found: unknown): void {
  if (
    found === undefined ||
    (typeof found === 'object' && found !== null && !definitionOf(found))
  ) {
    return
  }
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot use ${describe(found)} as "${name}": pass an object of resources, ${name}: { pool }`,
  )
}

function hooksOf(options: object, name: string): readonly Hook<never>[] {
  const found = (options as Record<string, unknown>)[name]
  const hooks = found === undefined ? [] : Array.isArray(found) ? found : [found]
  for (const hook of hooks) {
    if (typeof hook === 'function') continue
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot use ${describe(hook)} as "${name}": pass a function, or several in an array`,
    )
  }
  return hooks as Hook<never>[]
}

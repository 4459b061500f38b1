import type { Context, MiddlewareHandler } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import type { TypedResponse } from 'hono/types'
import { describe, StewardError } from '../../base/errors.ts'
import { NoWebSocket } from '../../http/upgrade.ts'
import type { Plan } from '../../scope/graph.ts'
import { requestKind } from '../../scope/kind.ts'
import { input } from '../../scope/builtin.ts'
import type { Fitting, Resource, Resources, Values } from '../../scope/resource.ts'
import { runningIn } from '../../service/answering.ts'
import { markInjected } from '../../service/injected.ts'
import {
  forgetRequest, handlerSettled, handshakeOf, heedsStop, mayWantSocket, notHere, refusalOf, refuseHandlerScoped, socketOf,
  wantsSocket,
} from '../../service/sockets.ts' // oxfmt-ignore
import { noService, PlanFor, type Visit } from '../../service/visit.ts'
import { Handshake, type Refusal, type WebSocketOptions } from '../../websocket/handshake.ts'
import type { ServerSocket, Socket } from '../../websocket/socket.ts'
import { visitOf } from './visits.ts'

/** What a handler answers that has spoken over its WebSocket; nothing of it is sent. */
export type Spoken = Response & TypedResponse<{}, StatusCode, 'ws'>

/** A WebSocket, injected. */
export interface InjectedSocket extends Socket {
  /** What the handler returns once it has finished: RPC clients know the route as a WebSocket by it. */
  ended(): Spoken
}

/**
 * The WebSocket of the request, for `inject({ socket })`. A request that asks for none is answered 426; one from the page of another
 * host 403.
 */
export const socket: Resource<InjectedSocket, 'request', 'WebSocket'> = input(requestKind, 'socket')

/** One async function for a connection: when it returns, the connection closes; its request scope closes after it. */
export type WebSocketHandler<Wanted> = (
  socket: Socket,
  values: Values<Wanted>,
  c: Context,
) => Promise<void>

/** A Hono handler of WebSockets; `hc` knows the route as one. */
export type WebSocketRoute = MiddlewareHandler<object, string, { outputFormat: 'ws' }>

/**
 * A route of WebSockets: one async function for each connection. When it returns, the connection is closed with 1000, or as the stop of
 * the service says; when it throws, with 1011. What it was injected is open until then, and nothing of the handler's scope is among
 * it: a connection lasts for hours, `run` opens such things for each message.
 *
 * When the service stops, `socket.stopping` is aborted, and after that the client gets a Close frame; the loop over the socket then ends by
 * itself. What the handler does after its loop is waited for, and has its resources.
 *
 * A request that asks for no WebSocket is answered 426, one from the page of another host 403, one that offers only unknown subprotocols 400.
 *
 * @throws `ERR_BAD_OPTION`, `ERR_CAPTIVE`; when a request comes, an opener's own error as it is, `ERR_NO_SERVICE` where no service runs
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { perApp } from 'steward'
 * import { websocket } from 'steward/hono'
 *
 * const greeting = perApp(() => 'hello')
 * export const app = new Hono().get(
 *   '/echo',
 *   websocket({ greeting }, async (socket, { greeting }) => {
 *     await socket.send(greeting)
 *     for await (const message of socket) await socket.send(message)
 *   }),
 * )
 * ```
 */
export function websocket<const Wanted extends Resources>(
  wanted: Wanted &
    Fitting<Wanted, 'app' | 'request', 'request' | 'Hono context' | 'WebSocket', 'a WebSocket'>,
  handler: WebSocketHandler<Wanted>,
  options?: WebSocketOptions,
): WebSocketRoute {
  if (typeof wanted !== 'object' || wanted === null) {
    throw badOption(
      `Cannot inject ${describe(wanted)}: pass an object of resources, websocket({ pool }, …)`,
    )
  }
  if (typeof handler !== 'function') {
    throw badOption(
      `Cannot make a WebSocket of ${describe(handler)}: pass the handler, websocket({ … }, async (socket, { … }) => …)`,
    )
  }
  refuseHandlerScoped(wanted)
  const plans = new PlanFor(wanted)
  const handshake = new Handshake(options)
  const heeds = heedsStop(wanted)
  const middleware: MiddlewareHandler = async (c) => {
    const visit = visitOf(c)
    const refusal = visit ? refusalOf(visit, handshake) : notServed(c)
    if (refusal) return refused(c, refusal)
    const socket = socketOf(visit!, handshake)
    if (heeds) socket.heedsStop = true
    const plan = plans.in(visit!.host.app)
    await open({ c, visit: visit!, plan, socket })
    begin({ c, visit: visit!, plan, socket }, handler as WebSocketHandler<Resources>)
    return socket.ended()
  }
  return markInjected(middleware, wanted) as WebSocketRoute
}

interface Serving {
  readonly c: Context
  readonly visit: Visit
  readonly plan: Plan
  readonly socket: ServerSocket
}

/** @throws an opener's own error, as long as there is a client that it can be answered to */
async function open({ c, visit, plan, socket }: Serving): Promise<void> {
  visit.context ??= c
  try {
    const opening = visit.open(plan)
    if (opening) await opening
  } catch (error) {
    socket.finish({ error })
    throw visit.ownError(error, plan)
  }
}

/**
 * Shakes hands, and lets the handler run. Hono is not kept waiting for it: what it holds for a request, its context and what the server's
 * adapter has made of the request, weighs more than the connection, and tens of thousands of them may be open for hours.
 */
function begin({ c, visit, plan, socket }: Serving, handler: WebSocketHandler<Resources>): void {
  socket.accept()
  const handling = started(handler, [socket, visit.scopeFor(plan).pick(plan), c])
  forgetRequest(visit, plan)
  const settled = settling(visit, handling)
  visit.transport.whenOver(() => settled)
}

/** By a promise that holds nothing of what the handler was given. */
async function started(
  handler: WebSocketHandler<Resources>,
  given: Parameters<WebSocketHandler<Resources>>,
): Promise<void> {
  return handler(...given)
}

async function settling(visit: Visit, handling: Promise<void>): Promise<void> {
  try {
    await handling
    handlerSettled(visit)
  } catch (error) {
    handlerSettled(visit, { error })
  }
}

/** Plans that may want a WebSocket: looked for once, and not for each request. */
export class SocketPlans extends PlanFor {
  /** Does the plan that was found last want one? */
  wantSocket = false
  /** Does a handler hear of the stop by what is wanted? */
  readonly heed: boolean
  readonly handshake: Handshake
  #known: Plan | undefined

  /** @throws `ERR_CAPTIVE`, `ERR_BAD_OPTION` */
  constructor(wanted: Resources, options?: WebSocketOptions) {
    super(wanted)
    this.heed = heedsStop(wanted)
    if (Object.values(wanted).includes(socket)) refuseHandlerScoped(wanted)
    if (options !== undefined && !mayWantSocket(wanted)) throw noSocket()
    this.handshake = options === undefined ? USUAL : new Handshake(options)
  }

  override in(app: Visit['host']['app']): Plan {
    const plan = super.in(app)
    if (plan === this.#known) return plan
    this.wantSocket = wantsSocket(plan)
    return (this.#known = plan)
  }
}

interface InjectingSocket {
  readonly c: Context
  readonly next: () => Promise<void>
  readonly visit: Visit
  readonly plan: Plan
  readonly plans: SocketPlans
}

/** Those that nothing was said of. */
const USUAL = new Handshake()

function noSocket(): StewardError {
  return badOption(
    'Cannot inject with options: they are those of a WebSocket, and none is among what is injected; take them away, or inject({ socket }, …)',
  )
}

function openedBefore(): StewardError {
  return badOption(
    'Cannot open the WebSocket with options: an inject({ socket }) before this one has opened it without them; give them there',
  )
}

/** Injects a socket among others: its handshake comes after their opening, and it is closed when the handler has settled. */
export async function injectSocket(
  inject: (injecting: Omit<InjectingSocket, 'plans'>) => Promise<void>,
  injecting: InjectingSocket,
): Promise<Response | undefined> {
  const { c, next, visit } = injecting
  const { handshake, heed } = injecting.plans
  // A middleware around this one has it already, and closes it
  if (visit.socket) {
    if (handshake !== USUAL && handshakeOf(visit) !== handshake) throw openedBefore()
    await inject(injecting)
    return undefined
  }
  const refusal = refusalOf(visit, handshake)
  if (refusal) return refused(c, refusal)
  const socket = socketOf(visit, handshake)
  if (heed) socket.heedsStop = true
  const accepted = (): Promise<void> => {
    socket.accept()
    return next()
  }
  try {
    await inject({ ...injecting, next: accepted })
  } catch (error) {
    if (socket.hasBegun) handlerSettled(visit, { error })
    throw error
  }
  handlerSettled(visit, c.error && { error: c.error })
  return undefined
}

/** Without a connection there is no WebSocket: `app.request` in a test. @throws `ERR_NO_SERVICE` */
function notServed(c: Context): Refusal {
  if (!runningIn(c.env)) throw noService('serve it, and connect to running.url')
  return notHere({ Upgrade: 'websocket' })
}

/** What is said to a request that does not become a WebSocket, and told of it. */
function refused(c: Context, { status, why, headers }: Refusal): Response {
  const error = new NoWebSocket(status, why)
  visitOf(c)?.transport.tellFailed(error)
  return c.text(error.message, status as 400, { ...headers })
}

function badOption(message: string): StewardError {
  return new StewardError('ERR_BAD_OPTION', message)
}

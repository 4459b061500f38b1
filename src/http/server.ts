import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Emit, Served, Waiting } from '../base/events.ts'
import { realWorld, type World } from '../base/world.ts'
import { urlOf, type Binding } from './binding.ts'
import { connectionOf, Traffic, type Connection } from './connections.ts'
import { Drain, type DrainLimits } from './drain.ts'
import { Exchange } from './exchange.ts'
import { handle, type Handler } from './handling.ts'
import { Health, type HealthOptions } from './health.ts'
import { markLast } from './last.ts'
import { lingerAtEnd } from './linger.ts'
import { Listener } from './listener.ts'
import { betweenRequests } from './parsing.ts'
import { refuse } from './refuse.ts'

/** How long an idle connection is kept by default, in milliseconds: longer than the 60 s of the usual balancers. */
const KEEP_ALIVE = 75_000

/** What a server is made of. */
export interface HttpServerOptions {
  /**
   * Answers a request. When it returns a promise, the handler is out until that has settled. What it throws or rejects with
   * becomes a 500 if no head was sent, otherwise the end of the connection; and an event `request.failed`.
   */
  handler(request: IncomingMessage, response: ServerResponse, exchange: Exchange): unknown
  /** Probes that are answered before the handler, and not counted as served. */
  health?: HealthOptions | undefined
  /**
   * How long an idle connection is kept, in milliseconds.
   *
   * @default 75_000
   */
  keepAlive?: number | undefined
  /** Takes the server's events. */
  emit?: Emit | undefined
  /** The clock. */
  world?: World | undefined
}

/**
 * An HTTP server that ends without dropping a request. Nothing listens until `listen`; it ends with `drain`, or at once
 * with `close`, and is not started again.
 *
 * ```
 *  made ── listen ──▶ serving ── stopping ──▶ stopping ── drain ──▶ drained
 * ```
 */
export class HttpServer {
  /** Node's server, for what else is to be attached to it. Its `close` would drop requests: use `drain`. */
  readonly server: Server
  readonly #traffic: Traffic
  readonly #listener: Listener
  #drained: Promise<void> | undefined = undefined

  constructor(options: HttpServerOptions) {
    const server = createServer({ keepAliveTimeout: options.keepAlive ?? KEEP_ALIVE })
    this.server = server
    this.#traffic = new Traffic(options.emit ?? ignore, options.world ?? realWorld, () =>
      betweenRequests(server),
    )
    this.#listener = new Listener(this.server, this.#traffic)
    takeOver(this.server, this.#traffic, takerOf(options))
  }

  /**
   * Begins to accept connections; resolves when it does.
   *
   * @throws `ERR_LISTEN` when the place cannot be listened on after all
   */
  async listen(binding: Binding): Promise<void> {
    await this.#listener.open(binding)
  }

  /** Where it is reached: `http://127.0.0.1:3000`, `unix:/run/app.sock`; empty before `listen`. */
  get url(): string {
    const { address } = this
    if (address && typeof address === 'object') return urlOf(address.address, address.port)
    return this.#listener.bound?.describe() ?? ''
  }

  /** Its address, the path of its Unix socket, or `null` when nothing listens. */
  get address(): AddressInfo | string | null {
    const address = this.server.address()
    if (typeof address !== 'string') return address
    // Node knows only the temporary name that it was bound to
    return this.#listener.bound?.describe().replace(/^unix:/, '') ?? address
  }

  /** What it has served, and what became of it. */
  get served(): Served {
    return this.#traffic.served
  }

  /**
   * The first moment of a stop. Everything is still served, but from now on the last response of each connection says
   * `Connection: close`. Calling it again does nothing.
   */
  stopping(): void {
    if (this.#traffic.stage !== 'serving') return
    this.#traffic.stage = 'stopping'
    for (const { socket, exchanges } of this.#traffic.connections) {
      lingerAtEnd(socket)
      for (const { response } of exchanges) markLast(response)
    }
  }

  /**
   * Ends the traffic: resolves when every connection is gone and every handler, `whenOver` and `waitUntil` has settled, or
   * the limits are spent. Emits `listener.closed`, `request.cut` and `handler.abandoned`. Every caller gets the same promise.
   */
  drain(limits: DrainLimits): Promise<void> {
    return (this.#drained ??= this.#drain(limits))
  }

  /** What is under way right now: requests, handlers, background work; while it stops, connections too. */
  waiting(): Waiting[] {
    return this.#traffic.waiting()
  }

  /** Ends it at once, whatever is under way: for a start that has failed. Resolves when nothing is left of it. */
  async close(): Promise<void> {
    await this.#listener.release()
    this.#listener.close()
    const closed = [...this.#traffic.connections].map(destroyed)
    await Promise.all(closed)
    this.#listener.end()
  }

  async #drain(limits: DrainLimits): Promise<void> {
    this.stopping()
    const { headersTimeout } = this.server
    await new Drain(this.#traffic, this.#listener, { ...limits, headersTimeout }).run()
    this.#listener.end()
  }
}

/** What takes the requests of a server: the probes' handler, or the app's. */
type Taker = (exchange: Exchange) => void

function takerOf({ handler, health: options }: HttpServerOptions): Taker {
  const handling: Handler = handler
  if (!options) return (exchange) => serve(exchange, handling)
  const health = new Health(options)
  return (exchange) => {
    if (health.isProbe(exchange.request)) handle(exchange, health.handle)
    else serve(exchange, handling)
  }
}

function serve(exchange: Exchange, handler: Handler): void {
  exchange.connection.traffic.served.requests++
  handle(exchange, handler)
}

/**
 * Makes the server's `emit` ours: a listener, even a prepended one, could not keep a request from the others.
 */
function takeOver(server: Server, traffic: Traffic, take: Taker): void {
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean
  // oxlint-disable-next-line max-params -- as many as Node's events have; a rest parameter would cost an array per request
  const ours = (event: string, first: unknown, second: unknown, third: unknown): boolean => {
    if (event === 'request') {
      const exchange = begin(traffic, first as IncomingMessage, second as ServerResponse)
      if (exchange) take(exchange)
      return true
    }
    if (event === 'connection') accept(traffic, first as Socket)
    else if (event === 'error' && server.listenerCount('error') === 0) return tell(traffic, first)
    return emit(event, first, second, third)
  }
  server.emit = ours as Server['emit']
}

/** The exchange of a request that has come in; `undefined` when it may not reach a handler. */
function begin(
  traffic: Traffic,
  request: IncomingMessage,
  response: ServerResponse,
): Exchange | undefined {
  const connection = connectionOf(request.socket) ?? accept(traffic, request.socket)
  if (!connection.open) {
    // After `Connection: close` a client must send no more (RFC 9112 §9.6); what it sends is read, and left
    request.resume()
    return undefined
  }
  const exchange = new Exchange(request, response, connection)
  connection.exchanges.push(exchange)
  return traffic.stage === 'serving' ? exchange : whileStopping(exchange)
}

function whileStopping(exchange: Exchange): Exchange | undefined {
  const { stage } = exchange.connection.traffic
  markLast(exchange.response)
  if (stage !== 'stopping') exchange.interrupt('spent')
  if (stage !== 'refusing') return exchange
  refuse(exchange)
  exchange.handlerSettled()
  return undefined
}

/** An error of accepting, such as too many open files, concerns one connection, not the process. */
function tell(traffic: Traffic, error: unknown): boolean {
  traffic.emit({ type: 'error', message: 'A connection could not be accepted', error })
  return true
}

function accept(traffic: Traffic, socket: Socket): Connection {
  if (traffic.stage !== 'serving') lingerAtEnd(socket)
  return traffic.track(socket)
}

function destroyed(connection: Connection): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (connection.socket.closed) resolve()
  connection.socket.once('close', resolve).destroy()
  return promise
}

function ignore(): void {}

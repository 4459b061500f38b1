import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo, Server as NetServer, Socket } from 'node:net'
import type { Server as TlsServer } from 'node:tls'
import type { Emit, Served, Waiting } from '../base/events.ts'
import type { Release, World } from '../base/world.ts'
import { realWorld } from '../base/world.ts'
import { acceptorFor } from './acceptor.ts'
import { urlOf, type Binding } from './binding.ts'
import type { Certificate } from './certificates.ts'
import type { Connection } from './connections.ts'
import { Drain, type DrainLimits } from './drain.ts'
import type { Exchange } from './exchange.ts'
import { handle, type Handler } from './handling.ts'
import { becomesForeign } from './foreign-socket.ts'
import type { Goodbye } from './goodbyes.ts'
import { Health, type HealthOptions } from './health.ts'
import {
  DEFAULT_LIMITS, http1Options, http2Options, limitServers, endIdle, type Limits,
} from './limits.ts' // oxfmt-ignore
import { Listener } from './listener.ts'
import { betweenRequests } from './internals.ts'
import { answerMalformed, listenForConnect } from './malformed.ts'
import { turnAway } from './refuse.ts'
import { cutStalls } from './stalls.ts'
import { keepRenewed } from './renewal.ts'
import { takeOver } from './take-over.ts'
import { Traffic, type RefuseFrom } from './traffic.ts'
import { asksForWebSocket, offerUpgrade } from './upgrade.ts'

/** What a server is made of. */
export interface HttpServerOptions {
  /**
   * Answers a request. When it returns a promise, the handler is out until that has settled. What it throws or rejects with
   * becomes a 500 if no head was sent, otherwise the end of the connection; and an event `request.failed`.
   */
  handler(request: IncomingMessage, response: ServerResponse, exchange: Exchange): unknown
  /** Takes the requests for a WebSocket of an app that speaks it by itself. Absent: they are handled like any other request. */
  upgrade?: ((request: IncomingMessage, socket: Socket, head: Buffer) => void) | undefined
  /** Probes that are answered before the handler, and not counted as served. */
  health?: HealthOptions | undefined
  /** What connections are encrypted with. Absent: they are not. */
  tls?: Certificate | undefined
  /**
   * Speak HTTP/2 as well: chosen by ALPN with TLS, by the client's preface without.
   *
   * @default false
   */
  http2?: boolean | undefined
  /** What clients may take, where it is not `DEFAULT_LIMITS`. */
  limits?: Partial<Limits> | undefined
  /** From which stage of a stop on new requests are answered 503. Absent: they are served as long as the drain lasts. */
  refuseFrom?: RefuseFrom | undefined
  /** Takes the server's events. */
  emit?: Emit | undefined
  /** The clock. */
  world?: World | undefined
}

/** How much a server has to do. */
export interface Load {
  /** Requests whose handler ran, since its start. */
  readonly served: number
  /** Connections that are open. */
  readonly connections: number
  /** Requests that are under way. */
  readonly underWay: number
  /** For how long the oldest of them has been, in milliseconds; 0 without any. */
  readonly oldest: number
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
  /** Node's server for HTTP/1.1, for what else is to be attached to it. Its `close` would drop requests: use `drain`. */
  readonly server: Server
  /** What accepts connections: the server for HTTP/1.1 itself, where there is nothing to choose. */
  readonly #acceptor: NetServer
  readonly #certificate: Certificate | undefined
  readonly #traffic: Traffic
  readonly #listener: Listener
  readonly #sendLimit: number
  readonly #backlog: number
  /** Ends what is looked at now and then while it listens. */
  readonly #watches: Release[] = []
  #draining: Drain | undefined = undefined
  #drained: Promise<void> | undefined = undefined

  constructor(options: HttpServerOptions) {
    const limits = { ...DEFAULT_LIMITS, ...options.limits }
    const http1 = createServer(http1Options(limits))
    // Who has said all that it wants to ask may wait for the answer still
    ;(http1 as { httpAllowHalfOpen?: boolean }).httpAllowHalfOpen = true
    const http2 = options.http2 ? createHttp2Server(http2Options(limits)) : undefined
    const traffic = new Traffic(options.emit ?? ignore, options.world ?? realWorld, () =>
      betweenRequests(http1),
    )
    traffic.refuseFrom = options.refuseFrom
    traffic.keepsIdle = limits.keepAlive > 0
    this.server = http1
    this.#traffic = traffic
    this.#certificate = options.tls
    this.#sendLimit = limits.send
    this.#backlog = limits.backlog
    this.#acceptor = acceptorFor({ http1, http2 }, options.tls)
    this.#listener = new Listener({ acceptor: this.#acceptor, http1 }, traffic)
    limitServers({ acceptor: this.#acceptor, http2 }, limits)
    for (const server of new Set<NetServer | undefined>([this.#acceptor, http1, http2])) {
      const { upgrade } = options
      if (server) take(server, { traffic, limits, handler: takerOf(options), upgrade })
    }
  }

  /**
   * Begins to accept connections in these places; resolves when it does in all of them.
   *
   * @throws `ERR_LISTEN` when one of the places cannot be listened on after all; it is closed then
   */
  async listen(...bindings: readonly Binding[]): Promise<void> {
    try {
      await this.#listener.open(bindings, this.#backlog)
    } catch (error) {
      // It may accept in some of them already
      await this.close()
      throw error
    }
    const [traffic, acceptor] = [this.#traffic, this.#acceptor]
    if (this.#sendLimit > 0) this.#watches.push(cutStalls(traffic, this.#sendLimit))
    const certificate = this.#certificate
    if (certificate) this.#watches.push(keepRenewed(acceptor as TlsServer, certificate, traffic))
  }

  /** Where it is reached first of all: `http://127.0.0.1:3000`, `unix:/run/app.sock`; empty before `listen`. */
  get url(): string {
    return this.urls[0] ?? ''
  }

  /** Everywhere it is reached; empty before `listen`. */
  get urls(): readonly string[] {
    const scheme = this.#certificate ? 'https' : 'http'
    return this.#listener.places.map(({ acceptor, binding }) => {
      const address = acceptor.address()
      // Of a Unix socket Node knows only the temporary name that it was bound to, or nothing
      if (address === null || typeof address === 'string') return binding.describe()
      return urlOf(address.address, address.port, scheme)
    })
  }

  /** Its first address, the path of its Unix socket, or `null` when nothing listens. */
  get address(): AddressInfo | string | null {
    const address = this.#acceptor.address()
    if (typeof address !== 'string') return address
    const [first] = this.#listener.places
    return first?.binding.describe().replace(/^unix:/, '') ?? address
  }

  /** What it has served, and what became of it. */
  get served(): Served {
    return this.#traffic.served
  }

  /** How much is under way at this moment; cheap enough to be asked once a second. */
  get load(): Load {
    let underWay = 0
    let oldest = 0
    for (const { age, connection } of this.#traffic.exchanges()) {
      // Hours are nothing for a WebSocket: it is counted as the connection that it is
      if (connection.upgraded) continue
      underWay++
      oldest = Math.max(oldest, age)
    }
    const { connections, served } = this.#traffic
    return { served: served.requests, connections: connections.size, underWay, oldest }
  }

  /**
   * The first moment of a stop. Everything is still served, but from now on the last response of each connection says
   * `Connection: close`. Calling it again does nothing. `goodbye` is how upgraded connections are parted with.
   */
  stopping(goodbye?: Goodbye): void {
    if (goodbye) this.#traffic.goodbye = goodbye
    this.#traffic.stopping()
  }

  /**
   * Ends the traffic: resolves when every connection is gone and every handler, `whenOver` and `waitUntil` has settled, or
   * the limits are spent. Emits `listener.closed`, `request.cut` and `handler.abandoned`. Every caller gets the same promise.
   */
  drain(limits: DrainLimits): Promise<void> {
    return (this.#drained ??= this.#drain(limits))
  }

  /** In a drain: gives idle connections no longer than so many milliseconds from now on to send a last request. */
  shortenIdle(window: number): void {
    this.#draining?.shortenIdle(window)
  }

  /** What is under way right now: requests, handlers, background work; while it stops, connections too. */
  waiting(): Waiting[] {
    return this.#traffic.waiting()
  }

  /** When a request came last that was for the handler, since the stop began; on the world's clock. 0: none has. */
  get lastArrival(): number {
    return this.#traffic.lastArrival
  }

  /** Ends it at once, whatever is under way: for a start that has failed. Resolves when nothing is left of it. */
  async close(): Promise<void> {
    for (const release of this.#watches) release()
    await this.#listener.release()
    this.#listener.close()
    const closed = [...this.#traffic.connections].map(destroyed)
    await Promise.all(closed)
    this.#listener.end()
  }

  async #drain(limits: DrainLimits): Promise<void> {
    this.stopping()
    const { headersTimeout } = this.server
    this.#draining = new Drain(this.#traffic, this.#listener, { ...limits, headersTimeout })
    await this.#draining.run()
    for (const release of this.#watches) release()
    this.#listener.end()
  }
}

/** What answers the requests of a server: the probes' handler, or the app's. */
type Answerer = (exchange: Exchange) => void

function takerOf({ handler, health: options }: HttpServerOptions): Answerer {
  const handling: Handler = handler
  if (!options) return (exchange) => serve(exchange, handling)
  const health = new Health(options)
  return (exchange) => {
    if (health.isProbe(exchange.request)) handle(exchange, health.handle)
    else serve(exchange, handling)
  }
}

function serve(exchange: Exchange, handler: Handler): void {
  const { traffic } = exchange.connection
  if (traffic.stage !== 'serving') traffic.lastArrival = exchange.since
  if (traffic.turnsAway) return turnAway(exchange)
  traffic.served.requests++
  handle(exchange, handler)
}

interface Taking {
  readonly traffic: Traffic
  readonly limits: Limits
  readonly handler: Answerer
  readonly upgrade: HttpServerOptions['upgrade']
}

/** Takes what one of the servers emits. */
function take(server: NetServer, { traffic, limits, handler, upgrade }: Taking): void {
  // Node asks whether to answer `Expect` only when somebody listens; and makes requests of streams only then
  for (const event of ['checkContinue', 'checkExpectation']) server.on(event, ignore)
  const isHttp2 = 'updateSettings' in server
  if (isHttp2) server.on('request', ignore)
  else listenForConnect(server)
  if (!isHttp2) {
    server.on('upgrade', ignore)
    ;(server as { shouldUpgradeCallback?: unknown }).shouldUpgradeCallback = asksForWebSocket
  }
  takeOver(server, traffic, {
    request: (exchange, event) => {
      if (event === 'checkExpectation') handle(exchange, refuseExpectation)
      else handler(event === 'checkContinue' ? continued(exchange) : exchange)
    },
    upgrade(connection, request, head) {
      if (!upgrade) return handler(offerUpgrade(connection, request, head))
      becomesForeign(connection, request)
      upgrade(request, connection.socket, head)
    },
    other(event, args, emit) {
      if (event === 'timeout' && isHttp2) {
        endIdle(args[0] as ServerHttp2Session, limits.keepAlive)
        return true
      }
      if (event === 'clientError' && server.listenerCount(event) === 0) {
        return answerMalformed(args[0] as Error, args[1] as Socket)
      }
      if (event === 'drop') return tellDropped(traffic, limits)
      if (event === 'error' && server.listenerCount('error') === 0) return tell(traffic, args[0])
      return emit(event, ...args)
    },
  })
}

/** The client waits with its body until it hears that it is wanted; one that is turned away never sends it (RFC 9110 §10.1.1). */
function continued(exchange: Exchange): Exchange {
  if (!exchange.connection.traffic.turnsAway) exchange.response.writeContinue()
  return exchange
}

function refuseExpectation(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(417).end()
}

/** An error of accepting, such as too many open files, concerns one connection, not the process. */
function tell(traffic: Traffic, error: unknown): boolean {
  traffic.emit({ type: 'error', message: 'A connection could not be accepted', error })
  return true
}

function tellDropped(traffic: Traffic, { connections }: Limits): boolean {
  const message = `Connections are closed as they come: ${connections} are open, which is the limit`
  traffic.tellSeldom(message)
  return true
}

function destroyed(connection: Connection): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (connection.raw.closed) resolve()
  connection.raw.once('close', resolve)
  connection.destroy()
  return promise
}

function ignore(): void {}

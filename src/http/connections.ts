import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Exchange } from './exchange.ts'
import type { Traffic } from './traffic.ts'

/**
 * What may still happen on a connection:
 *
 * ```
 *  handshaking ── TLS agreed ──▶ open ── half-closed, after its last response or by a drain ──▶ lingering ── closed ──▶ gone
 *       │                          └──────────────────────────── closed ─────────────────────────────────────────────────▲
 *       └─────────────────────────────────────────────────────── closed ─────────────────────────────────────────────────┘
 * ```
 *
 * Without TLS it begins `open`. Only on an `open` one a request reaches a handler.
 */
export type ConnectionState = 'handshaking' | 'open' | 'lingering' | 'gone'

/**
 * What a connection is doing: `busy` while a handler is out, a response not wholly handed to the kernel, or the connection
 * upgraded to another protocol; `fresh`: nothing has arrived on it yet, or its handshake is under way; `receiving` a part of a
 * request that no handler waits for; `idle` between requests; `leaving`.
 */
export type Phase = 'busy' | 'fresh' | 'receiving' | 'idle' | 'leaving'

const CONNECTION = Symbol('steward.connection')

interface Carrier {
  [CONNECTION]?: Connection
}

/** The connection of a socket, or of an HTTP/2 session; `undefined` when it did not come through a server of ours, or is gone. */
export function connectionOf(
  socket: Socket | ServerHttp2Session | undefined,
): Connection | undefined {
  return (socket as Carrier | undefined)?.[CONNECTION]
}

/** What a connection has become that no longer speaks HTTP. */
export interface Upgraded {
  readonly method: string
  readonly path: string
  readonly since: number
}

/** One socket and what is under way on it; held by its `Traffic` until the socket is closed and nothing is under way. */
export class Connection {
  /** What was accepted. */
  readonly raw: Socket
  /** What requests come over: with TLS, the encrypted socket once its handshake is over. */
  socket: Socket
  readonly traffic: Traffic
  /** When it was accepted, on the world's clock. */
  readonly since: number
  /** What is under way, in the order in which the requests came. */
  readonly exchanges: Exchange[] = []
  /** When the last exchange on it was answered; `since` before that, and while nothing is being stopped. */
  quietSince: number
  /** When a drain first saw that a part of a request had come; `undefined` while none is seen. */
  receivingSince: number | undefined = undefined
  state: ConnectionState
  /** Its HTTP/2 session, when it speaks that. */
  session: ServerHttp2Session | undefined = undefined
  upgraded: Upgraded | undefined = undefined

  constructor(socket: Socket, traffic: Traffic, state: ConnectionState) {
    this.raw = socket
    this.socket = socket
    this.traffic = traffic
    this.state = state
    this.since = traffic.world.now()
    this.quietSince = this.since
    ;(socket as Carrier)[CONNECTION] = this
  }

  /** Its handshake is over: requests come over `socket` from now on. */
  secured(socket: Socket): void {
    this.socket = socket
    if (this.state === 'handshaking') this.state = 'open'
    ;(socket as Carrier)[CONNECTION] = this
  }

  /** It speaks HTTP/2. */
  began(session: ServerHttp2Session): void {
    this.session = session
    ;(session as Carrier)[CONNECTION] = this
  }

  /** What it is doing; `between` holds the sockets of the server that are between requests. */
  phase(between: ReadonlySet<Socket>): Phase {
    if (this.state === 'lingering' || this.state === 'gone') return 'leaving'
    if (this.upgraded || this.exchanges.some(isBusy)) return 'busy'
    if (this.state === 'handshaking' || !this.hasSpoken) return 'fresh'
    if (this.session) return this.session.closed ? 'leaving' : 'idle'
    return between.has(this.socket) ? 'idle' : 'receiving'
  }

  /** Has anything of a request ever arrived? */
  get hasSpoken(): boolean {
    return this.session ? this.session.state.lastProcStreamID !== 0 : this.socket.bytesRead > 0
  }

  /** May a request that has just arrived reach a handler? Not behind a response that says `Connection: close`. */
  get open(): boolean {
    if (this.state !== 'open') return false
    if (this.session) return true
    const before = this.exchanges.at(-1)
    return before === undefined || !saysClose(before)
  }

  /** Is `exchange` the last one that was taken? Its response is then the last one of the connection. */
  isLast(exchange: Exchange): boolean {
    return this.exchanges.at(-1) === exchange
  }

  /** One of the exchanges needs it no longer: the handler has settled and the response is over. */
  answered(exchange: Exchange): void {
    if (this.traffic.stage === 'serving') return
    // The rest of a body that nobody reads would hold back what comes after it
    exchange.request.resume()
    this.quietSince = this.traffic.world.now()
    this.traffic.answered(this)
  }

  /** Ends it at once, whatever is under way. */
  destroy(): void {
    this.session?.destroy()
    this.raw.destroy()
  }

  /** Nothing of an exchange is under way any more. */
  forget(exchange: Exchange): void {
    const { exchanges } = this
    if (this.isLast(exchange)) exchanges.pop()
    else exchanges.splice(exchanges.indexOf(exchange), 1)
    this.traffic.ended(this)
  }
}

function isBusy(exchange: Exchange): boolean {
  return exchange.busy
}

/** Was its head rendered with `Connection: close`, by whomever? Node keeps that in a field of its own. */
function saysClose(exchange: Exchange): boolean {
  return (exchange.response as { _last?: boolean })._last === true
}

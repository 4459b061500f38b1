import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Exchange } from './exchange.ts'
import type { Goodbye } from './goodbyes.ts'
import { saysClose } from './internals.ts'
import type { Traffic } from './traffic.ts'

/**
 * What may still happen on a connection:
 *
 * ```
 *  handshaking ── TLS agreed ──▶ open ── half-closed, after its last response or by a drain ──▶ lingering ── closed ──▶ gone
 *       │                          ├── what came is no request ──▶ refused ── answered ─────────────▲                     ▲
 *       │                          └──────────────────────────── closed ─────────────────────────────────────────────────┤
 *       └─────────────────────────────────────────────────────── closed ─────────────────────────────────────────────────┘
 * ```
 *
 * Without TLS it begins `open`. Only on an `open` one a request reaches a handler; on a `refused` one those
 * before are still answered.
 */
export type ConnectionState = 'handshaking' | 'open' | 'refused' | 'lingering' | 'gone'

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

/** Who speaks on a connection that no longer speaks HTTP, or in a response without an end, and knows how to end it. */
export interface Speaker {
  /** The service stops: the client is told, and then parted with. Told once; `ownTime` is what it may take before, in milliseconds. */
  goodbye(goodbye: Goodbye, ownTime: number): void
  /** Its time is over: says what was not said yet. A connection that it speaks on is half-closed behind that. */
  cut(): void
  /** Is it making something ready yet, such as what is compressed, that its connection does not know of? */
  readonly isWriting?: boolean
}

/** What a connection has become that no longer speaks HTTP. */
export interface Upgraded {
  readonly method: string
  readonly path: string
  readonly since: number
  /** Absent where nobody is known. */
  readonly speaker?: Speaker
}

/** What most connections never have. */
interface Aside {
  raw?: Socket
  session?: ServerHttp2Session
  upgraded?: Upgraded
  receivingSince?: number
  mayHaveMore?: boolean
  /** What is under way behind the first exchange. */
  others?: Exchange[]
}

/**
 * One socket and what is under way on it; held by its `Traffic` until the socket is closed and nothing is under way. A server
 * may have tens of thousands of them: what is rare has a place aside, and times are whole numbers, which take no object of their own.
 */
export class Connection {
  /** What requests come over: with TLS, the encrypted socket once its handshake is over. */
  socket: Socket
  readonly traffic: Traffic
  /** When it was accepted, on the world's clock; cut to whole milliseconds. */
  readonly since: number
  /** When the last exchange on it was answered; `since` before that, and while nothing is being stopped. */
  quietSince: number
  state: ConnectionState
  #first: Exchange | undefined = undefined
  #aside: Aside | undefined = undefined

  constructor(socket: Socket, traffic: Traffic, state: ConnectionState) {
    this.socket = socket
    this.traffic = traffic
    this.state = state
    this.since = Math.trunc(traffic.world.now())
    this.quietSince = this.since
    ;(socket as Carrier)[CONNECTION] = this
  }

  /** What was accepted. */
  get raw(): Socket {
    return this.#aside?.raw ?? this.socket
  }

  /** Its HTTP/2 session, when it speaks that. */
  get session(): ServerHttp2Session | undefined {
    return this.#aside?.session
  }

  /** What it has become that no longer speaks HTTP. */
  get upgraded(): Upgraded | undefined {
    return this.#aside?.upgraded
  }

  set upgraded(upgraded: Upgraded) {
    this.#put({ upgraded })
  }

  /** When a drain first saw that a part of a request had come; `undefined` while none is seen. */
  get receivingSince(): number | undefined {
    return this.#aside?.receivingSince
  }

  set receivingSince(receivingSince: number) {
    this.#put({ receivingSince })
  }

  /** Were requests taken on it before we were there, so that responses may wait of which nothing is known? */
  get mayHaveMore(): boolean {
    return this.#aside?.mayHaveMore ?? false
  }

  set mayHaveMore(mayHaveMore: boolean) {
    if (mayHaveMore !== this.mayHaveMore) this.#put({ mayHaveMore })
  }

  /** What is under way, in the order in which the requests came. */
  get exchanges(): readonly Exchange[] {
    if (!this.#first) return NONE
    return [this.#first, ...(this.#aside?.others ?? NONE)]
  }

  /** The last one that is under way. */
  get last(): Exchange | undefined {
    return this.#aside?.others?.at(-1) ?? this.#first
  }

  /** A request has been taken. */
  add(exchange: Exchange): void {
    if (!this.#first) this.#first = exchange
    else if (this.#aside?.others) this.#aside.others.push(exchange)
    else this.#put({ others: [exchange] })
  }

  /** Nothing of an exchange is under way any more. */
  forget(exchange: Exchange): void {
    const others = this.#aside?.others
    if (exchange === this.#first) this.#first = others?.shift()
    else others?.splice(others.indexOf(exchange), 1)
    this.traffic.ended(this, exchange)
  }

  #put(aside: Aside): void {
    this.#aside = Object.assign(this.#aside ?? {}, aside)
  }

  /** Its handshake is over: requests come over `socket` from now on. */
  secured(socket: Socket): void {
    if (socket !== this.socket) this.#put({ raw: this.socket })
    this.socket = socket
    if (this.state === 'handshaking') this.state = 'open'
    ;(socket as Carrier)[CONNECTION] = this
  }

  /** It speaks HTTP/2. */
  began(session: ServerHttp2Session): void {
    this.#put({ session })
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
    const before = this.last
    return before === undefined || !(saysClose(before.response) || isSingle(before))
  }

  /** Is `exchange` the last one that was taken? Its response is then the last one of the connection. */
  isLast(exchange: Exchange): boolean {
    return !this.mayHaveMore && this.last === exchange
  }

  /** Ends it at once, whatever is under way. */
  destroy(): void {
    if (this.session) destroySession(this.session, this.exchanges)
    this.raw.destroy()
  }
}

const NONE: readonly Exchange[] = []

/**
 * Node would reset the streams one by one as it destroys them, and send without end where one was closed before its response was out and another
 * has something to send (see `endRequest`): they are reset before.
 */
function destroySession(session: ServerHttp2Session, exchanges: readonly Exchange[]): void {
  for (const { response } of exchanges) {
    ;(response as { stream?: ServerHttp2Stream }).stream?.close(constants.NGHTTP2_CANCEL)
  }
  session.destroy()
}

function isBusy(exchange: Exchange): boolean {
  return exchange.busy
}

/** Without a length, an answer to HTTP/1.0 ends with its connection: what came behind it could never be answered. Once its head has left, that says. */
function isSingle({ request, response, headSent }: Exchange): boolean {
  if (request.httpVersionMinor !== 0 || headSent) return false
  response.shouldKeepAlive = false
  ;(response as { _last?: boolean })._last = true
  return true
}

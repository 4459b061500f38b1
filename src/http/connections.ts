import type { Socket } from 'node:net'
import type { Emit, Served, Waiting } from '../base/events.ts'
import type { World } from '../base/world.ts'
import type { Exchange } from './exchange.ts'

/**
 * What may still happen on a connection:
 *
 * ```
 *  open ── half-closed, after its last response or by a drain ──▶ lingering ── closed ──▶ gone
 *    └───────────────────────────── closed ────────────────────────────────────────────────▲
 * ```
 *
 * Only on an `open` one a request reaches a handler.
 */
export type ConnectionState = 'open' | 'lingering' | 'gone'

/**
 * What a connection is doing: `busy` while a handler is out or a response not wholly handed to the kernel; `fresh`: nothing has
 * arrived on it yet; `receiving` a part of a request that no handler waits for; `idle` between requests; `leaving`.
 */
export type Phase = 'busy' | 'fresh' | 'receiving' | 'idle' | 'leaving'

/**
 * How far a stop has come: `stopping` from its first moment, `spent` when signals have been aborted, `refusing` when nothing
 * reaches a handler any more.
 */
export type Stage = 'serving' | 'stopping' | 'spent' | 'refusing'

const CONNECTION = Symbol('steward.connection')

interface Carrier {
  [CONNECTION]?: Connection
}

/** The connection of a socket; `undefined` when it did not come through an `HttpServer`. */
export function connectionOf(socket: Socket): Connection | undefined {
  return (socket as Carrier)[CONNECTION]
}

/** One socket and what is under way on it; held by its `Traffic` until the socket is closed and nothing is under way. */
export class Connection {
  readonly socket: Socket
  readonly traffic: Traffic
  /** When it was accepted, on the world's clock. */
  readonly since: number
  /** What is under way, in the order in which the requests came. */
  readonly exchanges: Exchange[] = []
  /** When the last exchange on it was answered; `since` before that, and while nothing is being stopped. */
  quietSince: number
  /** When a drain first saw that a part of a request had come; `undefined` while none is seen. */
  receivingSince: number | undefined = undefined
  state: ConnectionState = 'open'

  constructor(socket: Socket, traffic: Traffic) {
    this.socket = socket
    this.traffic = traffic
    this.since = traffic.world.now()
    this.quietSince = this.since
  }

  /** What it is doing; `between` holds the sockets of the server that are between requests. */
  phase(between: ReadonlySet<Socket>): Phase {
    if (this.state === 'lingering' || this.state === 'gone') return 'leaving'
    if (this.exchanges.some(isBusy)) return 'busy'
    if (this.socket.bytesRead === 0) return 'fresh'
    return between.has(this.socket) ? 'idle' : 'receiving'
  }

  /** May a request that has just arrived reach a handler? Not behind a response that says `Connection: close`. */
  get open(): boolean {
    if (this.state !== 'open') return false
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
    this.traffic.changed?.()
  }

  /** Nothing of an exchange is under way any more. */
  forget(exchange: Exchange): void {
    const { exchanges } = this
    if (this.isLast(exchange)) exchanges.pop()
    else exchanges.splice(exchanges.indexOf(exchange), 1)
    if (this.state === 'gone' && exchanges.length === 0) this.traffic.forget(this)
    else if (this.traffic.stage !== 'serving') this.traffic.changed?.()
  }
}

/** All that is under way in a server: its connections with their exchanges, and the background work of these. */
export class Traffic {
  readonly emit: Emit
  readonly world: World
  /** The sockets that are between requests. */
  readonly between: () => ReadonlySet<Socket>
  readonly served: Served = { requests: 0, cut: 0, left: 0 }
  readonly connections: Set<Connection> = new Set()
  /** What `waitUntil` was given and has not settled. */
  readonly background: Set<{ exchange: Exchange; since: number }> = new Set()
  /** Connections accepted so far. */
  accepted = 0
  stage: Stage = 'serving'
  /** Called when something has ended, while a stop is under way: set by the drain. */
  changed: (() => void) | undefined = undefined

  constructor(emit: Emit, world: World, between: () => ReadonlySet<Socket>) {
    this.emit = emit
    this.world = world
    this.between = between
  }

  /** Takes a socket that was just accepted; it is forgotten when it has closed and nothing on it is under way. */
  track(socket: Socket): Connection {
    const connection = new Connection(socket, this)
    ;(socket as Carrier)[CONNECTION] = connection
    this.accepted++
    this.connections.add(connection)
    socket.on('close', onSocketClosed)
    return connection
  }

  /** A connection is gone, and so is all that was under way on it. */
  forget(connection: Connection): void {
    this.connections.delete(connection)
    this.changed?.()
  }

  /** Every exchange that is under way. */
  *exchanges(): Generator<Exchange> {
    for (const connection of this.connections) yield* connection.exchanges
  }

  /** Waits for background work; a rejection becomes an `error` event. */
  await(exchange: Exchange, work: Promise<unknown>): void {
    const entry = { exchange, since: this.world.now() }
    const message = `Background work of ${exchange.name} failed`
    const done = (): void => {
      this.background.delete(entry)
      this.changed?.()
    }
    this.background.add(entry)
    Promise.resolve(work).then(done, (error: unknown) => {
      this.emit({ type: 'error', message, error })
      done()
    })
  }

  /** What is under way; connections that only wait are listed from the moment of a stop. */
  waiting(): Waiting[] {
    const now = this.world.now()
    const between = this.between()
    const list: Waiting[] = []
    for (const connection of this.connections) list.push(...waitingOn(connection, between))
    for (const { exchange, since } of this.background) {
      list.push({ kind: 'background', what: exchange.name, age: now - since })
    }
    return list
  }
}

/** One listener for all sockets, as with responses. */
function onSocketClosed(this: Socket): void {
  const connection = connectionOf(this)
  if (!connection) return
  connection.state = 'gone'
  if (connection.exchanges.length === 0) connection.traffic.forget(connection)
}

function isBusy(exchange: Exchange): boolean {
  return exchange.busy
}

/** Was its head rendered with `Connection: close`, by whomever? Node keeps that in a field of its own. */
function saysClose(exchange: Exchange): boolean {
  return (exchange.response as { _last?: boolean })._last === true
}

function waitingOn(connection: Connection, between: ReadonlySet<Socket>): Waiting[] {
  const { exchanges, traffic, socket, since } = connection
  if (exchanges.length > 0) return exchanges.map(waitingFor)
  if (traffic.stage === 'serving' || connection.state === 'gone') return []
  const what = `${socket.remoteAddress ?? 'a client'} (${connection.phase(between)})`
  return [{ kind: 'connection', what, age: traffic.world.now() - since }]
}

function waitingFor(exchange: Exchange): Waiting {
  const kind = exchange.unanswered ? 'request' : 'handler'
  return { kind, what: exchange.name, age: exchange.age }
}

import type { Socket } from 'node:net'
import type { Emit, Served, Waiting } from '../base/events.ts'
import type { World } from '../base/world.ts'
import { Connection, connectionOf, type Speaker, type Upgraded } from './connections.ts'
import type { Exchange } from './exchange.ts'
import { GOING_AWAY, type Goodbye } from './goodbyes.ts'
import { endSession, goAway } from './http2.ts'
import { decideAtHead } from './last.ts'
import { waitHalfOpen } from './linger.ts'
import { dropUnread } from './unread.ts'

/**
 * How far a stop has come: `stopping` from its first moment, `draining` when the lame duck is over, `spent` when signals have
 * been aborted, `refusing` when nothing reaches a handler any more.
 */
export type Stage = 'serving' | 'stopping' | 'draining' | 'spent' | 'refusing'

/** From which stage of a stop on new requests are answered 503, in the place of being served to the end. */
export type RefuseFrom = 'stopping' | 'draining'

const STAGES: readonly Stage[] = ['serving', 'stopping', 'draining', 'spent', 'refusing']

const DRAINING = new Set<Stage>(['draining', 'spent', 'refusing'])

/** How seldom a warning that repeats is told, in milliseconds. */
const SELDOM = 10_000

/** All that is under way in a server: its connections with their exchanges, and the background work of these. */
export class Traffic {
  readonly emit: Emit
  readonly world: World
  /** The sockets that are between requests. */
  readonly between: () => ReadonlySet<Socket>
  readonly served: Served = { requests: 0, cut: 0, left: 0, refused: 0 }
  readonly connections: Set<Connection> = new Set()
  /** What `waitUntil` was given and has not settled. */
  readonly background: Set<{ exchange: Exchange; since: number }> = new Set()
  /** Requests that were answered whole since the stop began. */
  finished = 0
  /** Has it been drained to the end? */
  isOver = false
  /** Connections accepted so far. */
  accepted = 0
  stage: Stage = 'serving'
  /** How upgraded connections are parted with. */
  goodbye: Goodbye = GOING_AWAY
  /** How long the handlers of such connections may take of their own for a goodbye, in milliseconds: set by the drain. */
  ownTime = 0
  /** From which stage on new requests are turned away; `undefined`: never before `refusing`. */
  refuseFrom: RefuseFrom | undefined = undefined
  /** Has somebody else made the server? It is only followed then, until it is drained. */
  isForeign = false
  /** Is a connection kept for another request? Otherwise each ends behind its first answer. */
  keepsIdle = true
  /** Called when something has ended, while a stop is under way: set by the drain. */
  changed: (() => void) | undefined = undefined
  /** Called when a connection has answered one of its requests, while a stop is under way. */
  onAnswered: ((connection: Connection) => void) | undefined = undefined

  /** When a request came last that was for the handler, while a stop is under way; on the world's clock. */
  lastArrival = 0
  #toldAt = -Infinity

  constructor(emit: Emit, world: World, between: () => ReadonlySet<Socket>) {
    this.emit = emit
    this.world = world
    this.between = between
  }

  /** Takes a socket that was just accepted; it is forgotten when it has closed and nothing on it is under way. */
  track(socket: Socket, state: 'handshaking' | 'open' = 'open'): Connection {
    const connection = new Connection(socket, this, state)
    this.accepted++
    this.connections.add(connection)
    follow(socket)
    return connection
  }

  /** The first moment of a stop: the last response of each connection says `Connection: close` from now on. */
  stopping(): void {
    if (this.stage !== 'serving') return
    this.stage = 'stopping'
    for (const { session, upgraded, exchanges } of this.connections) {
      // HTTP/2 has no such header: its clients hear of it by GOAWAY, when the drain begins
      if (session || upgraded) continue
      for (const { response } of exchanges) decideAtHead(response)
    }
  }

  /** Everybody who speaks, and has to be parted with. */
  speakers(): Speaker[] {
    const speakers: Speaker[] = []
    for (const { upgraded, exchanges } of this.connections) {
      if (upgraded?.speaker) speakers.push(upgraded.speaker)
      for (const { speaker } of exchanges) if (speaker) speakers.push(speaker)
    }
    return speakers
  }

  /** From now on somebody speaks: when the goodbyes have been said already, this one hears its own at once. */
  speaks(speaker: Speaker): void {
    if (DRAINING.has(this.stage)) speaker.goodbye(this.goodbye, this.ownTime)
  }

  /** A client was told that its connection ends. `lost`: it has not said so, too, in its time. */
  tellParted(what: 'told' | 'lost', upgraded: Upgraded): void {
    const sockets = (this.served.sockets ??= { told: 0, lost: 0 })
    sockets[what]++
    if (what === 'told') return
    const { method, path: url, since } = upgraded
    this.emit({ type: 'socket.lost', method, url, age: this.world.now() - since })
  }

  /** A warning that would come with every connection: told once in ten seconds. */
  tellSeldom(message: string): void {
    const now = this.world.now()
    if (now - this.#toldAt < SELDOM) return
    this.#toldAt = now
    this.emit({ type: 'warning', message })
  }

  /** Is a new request turned away? */
  get turnsAway(): boolean {
    const { stage, refuseFrom } = this
    return refuseFrom !== undefined && STAGES.indexOf(stage) >= STAGES.indexOf(refuseFrom)
  }

  /** An exchange needs its connection no longer. */
  answered(exchange: Exchange): void {
    const isServing = this.stage === 'serving'
    if (!(isServing && this.isForeign)) dropUnread(exchange)
    if (isServing) return
    const { connection } = exchange
    connection.quietSince = Math.trunc(this.world.now())
    this.onAnswered?.(connection)
    this.changed?.()
  }

  /** Nothing of one of its exchanges is under way any more. */
  ended(connection: Connection, exchange: Exchange): void {
    const { state, session, last } = connection
    if (this.stage !== 'serving' && exchange.isWhole) this.finished++
    if (session && !this.keepsIdle && !last) goAway(connection)
    else if (session) endSession(connection)
    if (state === 'gone' && !last) this.forget(connection)
    else if (this.stage !== 'serving') this.changed?.()
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
      if (!exchange.busy) dropUnread(exchange)
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

/**
 * What every tracked socket emits, in the place of listeners of ours: Node has two of its own for `end` and for `close`, and a third makes its
 * array of them grow by 150 bytes a connection.
 */
export function follow(socket: Socket): void {
  socket.emit = emitTracked as Socket['emit']
}

function emitTracked(this: Socket, event: string, ...args: unknown[]): boolean {
  const { emit } = Object.getPrototypeOf(this) as {
    emit(event: string, ...args: unknown[]): boolean
  }
  const heard = emit.call(this, event, ...args)
  if (event === 'close') closed(this)
  else if (event === 'end') waitHalfOpen(this)
  return heard
}

function closed(socket: Socket): void {
  const connection = connectionOf(socket)
  // With TLS, the encrypted one closes first
  if (!connection || socket !== connection.raw) return
  connection.state = 'gone'
  if (!connection.last) connection.traffic.forget(connection)
}

function waitingOn(connection: Connection, between: ReadonlySet<Socket>): Waiting[] {
  const { exchanges, traffic, socket, since, upgraded } = connection
  if (exchanges.length > 0) return exchanges.map(waitingFor)
  if (upgraded && connection.state !== 'gone') {
    const what = `${upgraded.method} ${upgraded.path}`
    return [{ kind: 'socket', what, age: traffic.world.now() - upgraded.since }]
  }
  if (traffic.stage === 'serving' || connection.state === 'gone') return []
  const what = `${socket.remoteAddress ?? 'a client'} (${connection.phase(between)})`
  return [{ kind: 'connection', what, age: traffic.world.now() - since }]
}

function waitingFor(exchange: Exchange): Waiting {
  const isOpen = exchange.unanswered
  const kind = !isOpen ? 'handler' : exchange.connection.upgraded ? 'socket' : 'request'
  return { kind, what: exchange.name, age: exchange.age }
}

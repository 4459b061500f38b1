import type { ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import type { Deadline } from '../base/deadline.ts'
import type { Release } from '../base/world.ts'
import type { Connection, Phase, Speaker } from './connections.ts'
import { endEventStream } from './event-stream.ts'
import type { Exchange } from './exchange.ts'
import { cutStream, endRequest, goAway, isAnswered, streamOf } from './http2.ts'
import { sayGoodbyes, type Goodbyes } from './goodbyes.ts'
import { linger } from './linger.ts'
import type { Listener } from './listener.ts'
import { hasWholeHead } from './internals.ts'
import { refuse, tellCut } from './refuse.ts'
import type { Traffic } from './traffic.ts'

/** The share of a stop's budget that a drain has. */
export interface DrainLimits {
  /** When signals are aborted with `ERR_GRACE_SPENT`, and connections without a request are closed. */
  t1: Deadline
  /** When a request without a response head is answered 503, and every other one is cut. */
  t2: Deadline
  /** When handlers and what was registered with `whenOver` are abandoned: named, and counted as cut. */
  cleanup: Deadline
  /** How long an idle connection may still send a last request, in milliseconds. */
  idle: number
  /** Do others go on accepting on the same sockets? What waits there is theirs then. @default false */
  othersAccept?: boolean | undefined
  /** Skips to `t2` at once; cleanups are still awaited. */
  force: AbortSignal
}

/** How long half a head, or a connection on which nothing came, may take: the headers' timeout, but no more than this. */
const PATIENCE = 5_000

/** How far apart two looks at the connections are at least, in milliseconds. */
const MOMENT = 5

/** How long the handler of an upgraded connection that heeds the stop may go on, in milliseconds, and a fifth of the drain at most. */
const OWN_TIME = 2_000

const REQUEST_TIMEOUT =
  'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/**
 * The end of a server's traffic:
 *
 * ```
 *  accepting ── the queue is empty, the listener closed ──▶ emptying ── all gone ──▶ over
 *      └────────────────────── cleanup: the rest is abandoned ───┴──────────────────▲
 * ```
 *
 * Meanwhile, on the clock: `t1` aborts signals and parts with connections without a request, `t2` answers or cuts the others.
 */
export class Drain {
  readonly #traffic: Traffic
  readonly #listener: Listener
  readonly #limits: DrainLimits
  readonly #patience: number
  readonly #since: number
  /** The window of idle connections in milliseconds, and since when it has been as long as that. */
  #idle: { window: number; since: number }
  readonly #over: PromiseWithResolvers<void> = Promise.withResolvers()
  readonly #releases: Release[] = []
  /** When the connections are looked at next, and how to take that back. */
  #look: { at: number; release: Release } | undefined = undefined
  #goodbyes: Goodbyes | undefined = undefined
  #state: 'accepting' | 'emptying' | 'over' = 'accepting'
  #hasRefused = false

  constructor(
    traffic: Traffic,
    listener: Listener,
    options: DrainLimits & { headersTimeout: number },
  ) {
    this.#traffic = traffic
    this.#listener = listener
    this.#limits = options
    this.#patience = Math.min(options.headersTimeout || PATIENCE, PATIENCE)
    this.#since = traffic.world.now()
    this.#idle = { window: options.idle, since: this.#since }
  }

  /** Gives idle connections no longer than so many milliseconds, from now on. */
  shortenIdle(window: number): void {
    if (window >= this.#idle.window) return
    this.#idle = { window, since: this.#traffic.world.now() }
    this.#lookAtAll()
  }

  /** Resolves when nothing is under way any more, or `cleanup` has come. */
  async run(): Promise<void> {
    this.#traffic.stage = 'draining'
    this.#traffic.changed = () => this.#changed()
    // Those that are idle have their window first: what they send meanwhile is answered
    for (const connection of this.#traffic.connections) {
      if (connection.last) goAway(connection)
    }
    this.#keepLimits()
    this.#sayGoodbyes()
    this.#lookAtAll()
    void this.#closeListener()
    await this.#over.promise
  }

  /** Those whose handlers have something of their own to say have a moment for it first. */
  #sayGoodbyes(): void {
    const left = this.#limits.t1.remaining
    this.#traffic.ownTime = Math.min(OWN_TIME, left / 5)
    this.#goodbyes = sayGoodbyes(this.#traffic, left)
  }

  #end(): void {
    this.#state = 'over'
    this.#goodbyes?.stop()
    this.#traffic.changed = undefined
    for (const release of this.#releases) release()
    this.#look?.release()
    this.#over.resolve()
  }

  #keepLimits(): void {
    const { t1, t2, cleanup, force } = this.#limits
    const refuseNow = (): void => this.#refuse()
    this.#releases.push(
      t1.when(() => this.#interrupt()),
      t2.when(refuseNow),
      cleanup.when(() => this.#abandon()),
      () => force.removeEventListener('abort', refuseNow),
    )
    if (force.aborted) refuseNow()
    else force.addEventListener('abort', refuseNow)
  }

  async #closeListener(): Promise<void> {
    await this.#listener.release()
    await this.#listener.closeQuietly(this.#limits.cleanup, this.#limits.othersAccept ?? false)
    if (this.#state === 'accepting') this.#state = 'emptying'
    this.#traffic.emit({ type: 'listener.closed' })
    this.#changed()
  }

  /** Something has ended: is that all? Otherwise a connection may have become idle. */
  #changed(): void {
    const { connections, background, world } = this.#traffic
    const left = connections.size + background.size
    if (this.#state === 'emptying' && left === 0) this.#end()
    else this.#lookAgain(world.now() + Math.min(this.#idle.window, this.#patience))
  }

  /** Parts with every connection whose time is up, and comes back for the others. */
  #lookAtAll(): void {
    this.#look?.release()
    this.#look = undefined
    const due = this.#due()
    if (due.length > 0) void this.#part(due)
  }

  /** The connections whose time is up; for the others a look is arranged. */
  #due(): [Connection, Phase][] {
    const between = this.#traffic.between()
    const now = this.#traffic.world.now()
    const due: [Connection, Phase][] = []
    for (const connection of this.#traffic.connections) {
      const phase = connection.phase(between)
      const at = this.#dueOf(connection, phase)
      if (at <= now) due.push([connection, phase])
      else this.#lookAgain(at)
    }
    return due
  }

  #lookAgain(at: number): void {
    if (this.#state === 'over' || at === Infinity || (this.#look && this.#look.at <= at)) return
    this.#look?.release()
    // What is due within a moment is looked at together: every look costs a walk over all connections
    const wait = Math.max(at - this.#traffic.world.now(), MOMENT)
    this.#look = { at, release: this.#traffic.world.timer(wait, () => this.#lookAtAll()) }
  }

  /** When the time of a connection is up; never, while events will tell. */
  #dueOf(connection: Connection, phase: Phase): number {
    const { t1 } = this.#limits
    if (phase === 'busy' || phase === 'leaving') return Infinity
    if (this.#traffic.stage !== 'draining') return -Infinity
    if (phase === 'idle') {
      const { window, since } = this.#idle
      return Math.min(t1.at, Math.max(since, connection.quietSince) + window)
    }
    const since = phase === 'fresh' ? connection.since : this.#receivingSince(connection)
    return Math.min(t1.at, Math.max(this.#since, since) + this.#patience)
  }

  #receivingSince(connection: Connection): number {
    return (connection.receivingSince ??= Math.trunc(this.#traffic.world.now()))
  }

  /** Parts with connections, unless a request is in the kernel's buffer: that shows within a whole turn. */
  async #part(connections: [Connection, Phase][]): Promise<void> {
    await turn()
    await turn()
    if (this.#state === 'over') return
    const still = new Map(this.#due())
    for (const [connection] of connections) {
      const phase = still.get(connection)
      if (phase) part(connection, phase)
    }
  }

  /** T1: who has not finished is told to. */
  #interrupt(): void {
    if (this.#traffic.stage !== 'draining') return
    this.#traffic.stage = 'spent'
    this.#goodbyes?.hurry()
    for (const exchange of this.#traffic.exchanges()) exchange.interrupt('spent')
    void this.#endStreams()
    for (const { exchange } of this.#traffic.background) exchange.interrupt('spent')
    this.#lookAtAll()
  }

  /** Who has heard its signal may say a last word first. */
  async #endStreams(): Promise<void> {
    await turn()
    await turn()
    for (const exchange of this.#traffic.exchanges()) endEventStream(exchange)
  }

  /** T2: who has no answer yet gets ours. */
  #refuse(): void {
    this.#interrupt()
    this.#traffic.stage = 'refusing'
    void this.#refuseSoon()
  }

  /** A response that the kernel has already, which with TLS Node tells a turn later, is not cut. */
  async #refuseSoon(): Promise<void> {
    await turn()
    await turn()
    if (this.#state !== 'over') this.#refuseAll()
  }

  #refuseAll(): void {
    if (this.#hasRefused) return
    this.#hasRefused = true
    for (const connection of this.#traffic.connections) refuseAll(connection)
  }

  /** The end of the cleanups: what is still there is named, and left to itself. */
  #abandon(): void {
    // Where a busy loop has come to both at once, who waits is still told
    this.#refuse()
    this.#refuseAll()
    for (const exchange of this.#traffic.exchanges()) abandon(exchange)
    for (const { exchange } of this.#traffic.background) {
      const message = `Background work of ${exchange.name} was abandoned: the grace of the stop is spent`
      this.#traffic.emit({ type: 'warning', message })
    }
    for (const connection of this.#traffic.connections) {
      if (!connection.session) cutOff(connection)
      connection.destroy()
    }
    this.#end()
  }
}

/** Half-closes a connection on which nothing is under way; half a head is answered 408. */
function part(connection: Connection, phase: Phase): void {
  const { socket, state, session } = connection
  if (session) return goAway(connection)
  // Nobody is there yet to whom anything could be said
  if (state === 'handshaking') return connection.destroy()
  if (phase === 'receiving' && !hasWholeHead(socket)) socket.write(REQUEST_TIMEOUT)
  linger(connection)
}

/**
 * Answers what has no head yet. One whose answer is on its way is cut, and so is what comes behind it; what comes before it still
 * leaves. A commit keeps its answer until the cleanups end.
 */
function refuseAll(connection: Connection): void {
  if (connection.upgraded) return cutUpgraded(connection)
  if (connection.session) return refuseStreams(connection)
  const { exchanges } = connection
  if (exchanges.some((exchange) => exchange.keepsAnswer)) return
  const unanswered = exchanges.filter((exchange) => exchange.unanswered)
  const stuck = unanswered.findIndex((exchange) => exchange.headSent && !isQueued(exchange))
  const before = stuck < 0 ? unanswered : unanswered.slice(0, stuck)
  for (const exchange of before) if (!exchange.headSent) refuse(exchange)
  if (stuck >= 0) cutBehind(before.at(-1), { connection, exchanges: unanswered.slice(stuck) })
  else if (unanswered.length === 0 && exchanges.length > 0) linger(connection)
}

/** Is it whole, and only waits for those before it? */
function isQueued({ response }: Exchange): boolean {
  return response.writableEnded && response.socket === null
}

function cutBehind(
  last: Exchange | undefined,
  { connection, exchanges }: { connection: Connection; exchanges: readonly Exchange[] },
): void {
  for (const exchange of exchanges) tellCut(exchange)
  if (last) last.response.once('close', () => cutOff(connection))
  else cutOff(connection)
}

/** Where the end of the connection is the end of the answer, only a reset tells the client that it is not whole. */
function cutOff(connection: Connection): void {
  const { socket, raw, exchanges } = connection
  const endsWithIt = exchanges.some(
    ({ unanswered, headSent, response }) => unanswered && headSent && !hasLength(response),
  )
  if (endsWithIt && canReset(connection)) raw.resetAndDestroy()
  else socket.destroy()
}

/** Not what is not TCP, nor a socket whose FIN is on its way: the system refuses that, and Node then never says that it has closed. */
function canReset({ raw, socket }: Connection): boolean {
  const ends = socket.writableEnded && socket.writableLength === 0
  return raw.remoteAddress !== undefined && !raw.destroyed && !ends
}

function hasLength(response: ServerResponse): boolean {
  const { _header = '' } = response as { _header?: string }
  return /^(?:content-length|transfer-encoding):/im.test(_header)
}

/** Every stream by itself; the connection ends after the last of them. */
function refuseStreams(connection: Connection): void {
  for (const exchange of connection.exchanges) {
    const stream = streamOf(exchange.response)
    if (!stream || exchange.keepsAnswer || !exchange.unanswered) continue
    if (isAnswered(stream)) endRequest(stream)
    else if (!refuse(exchange)) cutStream(stream)
  }
  goAway(connection)
}

/** Nobody has ended it in its own protocol; where somebody could, it is said now. */
function cutUpgraded(connection: Connection): void {
  const { upgraded, traffic, socket } = connection
  const { method, path: url, since, speaker } = upgraded!
  if (speaker) {
    speaker.cut()
    return lingerBehind(connection, speaker)
  }
  traffic.served.cut++
  traffic.emit({
    type: 'request.cut',
    method,
    url,
    age: traffic.world.now() - since,
    phase: 'upgraded',
    answered: false,
    bytes: socket.bytesWritten,
  })
  connection.destroy()
}

/** Half-closed before its last words are written, a connection would never carry them. Nobody waits longer than the cleanups may take. */
function lingerBehind(connection: Connection, speaker: Speaker): void {
  if (!speaker.isWriting || connection.socket.destroyed) return linger(connection)
  connection.traffic.world.timer(MOMENT, () => lingerBehind(connection, speaker))
}

function abandon(exchange: Exchange): void {
  const { request, path, age, connection } = exchange
  exchange.cut()
  const method = request.method ?? ''
  connection.traffic.emit({ type: 'handler.abandoned', method, url: path, age })
}

import { setImmediate as turn } from 'node:timers/promises'
import type { Deadline } from '../base/deadline.ts'
import type { Release } from '../base/world.ts'
import { hasWholeHead, receivingFor, type Connection, type Traffic } from './connections.ts'
import type { Exchange } from './exchange.ts'
import { linger } from './linger.ts'
import type { Listener } from './listener.ts'
import { answerFor } from './refuse.ts'

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
  /** Skips to `t2` at once; cleanups are still awaited. */
  force: AbortSignal
  /**
   * Another process holds the same listening socket and will accept what is in its queue: so the listener is closed at
   * once, without waiting for the queue to be empty.
   *
   * @default false
   */
  shared?: boolean
}

/** How long half a head, or a connection on which nothing came, may take: the headers' timeout, but no more than this. */
const PATIENCE = 5_000

const RETRY_AFTER = { 'Retry-After': '1' }

const REQUEST_TIMEOUT = 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/**
 * The end of a server's traffic, in order:
 *
 * ```
 *  accepting ── quiet ──▶ draining ── t1 ──▶ interrupted ── t2 ──▶ refused ── cleanup ──▶ abandoned
 *                            └───────────── all gone ──┴─────────────┴──▶ drained
 * ```
 */
export class Drain {
  readonly #traffic: Traffic
  readonly #listener: Listener
  readonly #limits: DrainLimits
  readonly #patience: number
  readonly #since: number
  readonly #over: PromiseWithResolvers<void> = Promise.withResolvers()
  readonly #releases: Release[] = []
  /** When the connections are looked at next, and how to take that back. */
  #look: { at: number; release: Release } | undefined = undefined
  #accepting = true

  constructor(traffic: Traffic, listener: Listener, options: DrainLimits & { headersTimeout: number }) {
    this.#traffic = traffic
    this.#listener = listener
    this.#limits = options
    this.#patience = Math.min(options.headersTimeout || PATIENCE, PATIENCE)
    this.#since = traffic.world.now()
  }

  /** Resolves when nothing is under way any more, or `cleanup` has come. */
  async run(): Promise<void> {
    this.#traffic.changed = (connection) => this.#changed(connection)
    this.#keepLimits()
    this.#lookAtAll()
    void this.#closeListener()
    await this.#over.promise
    for (const release of this.#releases) release()
    this.#look?.release()
    this.#traffic.changed = undefined
  }

  #keepLimits(): void {
    const { t1, t2, cleanup, force } = this.#limits
    const hurry = (): void => this.#refuse()
    this.#releases.push(
      t1.when(() => this.#interrupt()),
      t2.when(hurry),
      cleanup.when(() => this.#abandon()),
      () => force.removeEventListener('abort', hurry),
    )
    if (force.aborted) hurry()
    else force.addEventListener('abort', hurry)
  }

  async #closeListener(): Promise<void> {
    await this.#listener.release()
    if (!this.#limits.shared) await this.#listener.quiet(this.#limits.t1)
    this.#listener.close()
    this.#accepting = false
    this.#traffic.emit({ type: 'listener.closed' })
    this.#changed()
  }

  /** Something has ended: is that all, or is a connection quiet now? */
  #changed(connection?: Connection): void {
    const { connections, background } = this.#traffic
    if (connection) this.#lookAgain(this.#dueOf(connection))
    if (!this.#accepting && connections.size === 0 && background.size === 0) this.#over.resolve()
  }

  /** Half-closes every connection whose time is up, and comes back for the others. */
  #lookAtAll(): void {
    this.#look = undefined
    const now = this.#traffic.world.now()
    for (const connection of this.#traffic.connections) {
      const due = this.#dueOf(connection)
      if (due <= now) void this.#part(connection)
      else this.#lookAgain(due)
    }
  }

  #lookAgain(at: number): void {
    if (at === Infinity || (this.#look && this.#look.at <= at)) return
    this.#look?.release()
    const wait = at - this.#traffic.world.now()
    this.#look = { at, release: this.#traffic.world.timer(wait, () => this.#lookAtAll()) }
  }

  /** When the time of a connection is up; never, while events will tell. */
  #dueOf(connection: Connection): number {
    const { t1, idle } = this.#limits
    switch (connection.phase) {
      case 'idle':
        return Math.min(t1.at, Math.max(this.#since, connection.quietSince) + idle)
      case 'fresh':
        return Math.min(t1.at, Math.max(this.#since, connection.since) + this.#patience)
      case 'receiving':
        return Math.min(t1.at, this.#receivingSince(connection) + this.#patience)
      default:
        return Infinity
    }
  }

  #receivingSince(connection: Connection): number {
    const began = this.#traffic.world.now() - receivingFor(connection.socket)
    return Math.max(this.#since, began)
  }

  /** Parts with a connection, unless a request is in the kernel's buffer: that shows within a whole turn. */
  async #part(connection: Connection): Promise<void> {
    await turn()
    await turn()
    const due = this.#dueOf(connection)
    if (due > this.#traffic.world.now()) return this.#lookAgain(due)
    const { socket, phase } = connection
    if (phase === 'receiving' && !hasWholeHead(socket)) socket.write(REQUEST_TIMEOUT)
    linger(connection)
  }

  /** T1: who has not finished is told to. */
  #interrupt(): void {
    if (this.#traffic.stage === 'spent') return
    this.#traffic.stage = 'spent'
    for (const exchange of this.#traffic.exchanges()) exchange.interrupt('spent')
    for (const { exchange } of this.#traffic.background) exchange.interrupt('spent')
    this.#lookAtAll()
  }

  /** T2: who has no answer yet gets ours. */
  #refuse(): void {
    this.#interrupt()
    for (const connection of this.#traffic.connections) {
      const unanswered = connection.exchanges.filter((exchange) => exchange.unanswered)
      const answered = unanswered.filter((exchange) => refuse(exchange))
      if (answered.length < unanswered.length) connection.socket.destroy()
      else if (unanswered.length === 0) linger(connection)
    }
  }

  /** The end of the cleanups: what is still there is named, and left to itself. */
  #abandon(): void {
    for (const exchange of this.#traffic.exchanges()) abandon(exchange)
    for (const { exchange } of this.#traffic.background) {
      const message = `Background work of ${exchange.name} was abandoned: the grace of the stop is spent`
      this.#traffic.emit({ type: 'warning', message })
    }
    for (const { socket } of this.#traffic.connections) socket.destroy()
    this.#over.resolve()
  }
}

/** Answers 503 in the app's place; `false` when it is too late for that, and the connection has to be cut. */
function refuse(exchange: Exchange): boolean {
  const { request, path, age, connection } = exchange
  const first = exchange.cut()
  const answered = answerFor(exchange, 503, RETRY_AFTER)
  const method = request.method ?? ''
  if (first) connection.traffic.emit({ type: 'request.cut', method, url: path, age, answered })
  return answered
}

function abandon(exchange: Exchange): void {
  const { request, path, age, connection } = exchange
  exchange.cut()
  const method = request.method ?? ''
  connection.traffic.emit({ type: 'handler.abandoned', method, url: path, age })
}

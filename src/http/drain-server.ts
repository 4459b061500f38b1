import type { Server as NetServer } from 'node:net'
import type { Server as Http1Server } from 'node:http'
import type { Http2SecureServer, Http2Server } from 'node:http2'
import { Deadline, milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { ServiceEvent } from '../base/events.ts'
import { realWorld } from '../base/world.ts'
import { Drain } from './drain.ts'
import { checkGoodbye, GOING_AWAY } from './goodbyes.ts'
import { foreignTraffic, isHttpServer, speaksHttp1 } from './foreign.ts'
import { Listener } from './listener.ts'

/** A server of `node:http`, `node:https` or `node:http2`. */
export type DrainableServer = Http1Server | Http2Server | Http2SecureServer

/** How a server is drained. */
export interface DrainOptions {
  /** The whole time that it may take: what is not over then is cut, and named. @default '25s' */
  within?: Duration
  /** How long everything is still served first, new connections too, counted in the whole time. @default '0s' */
  delay?: Duration
  /** How long an idle connection may still send one last request. @default '1s' */
  idle?: Duration
  /** Answer new requests 503 with `Retry-After`, from the end of the delay on. @default false */
  refuse?: boolean
  /**
   * What WebSockets are closed with, of servers that `prepare` has made known.
   *
   * @default 1001 (going away), no reason
   */
  goodbye?: { code?: number; reason?: string }
  /** Aborted: what is not over is cut at once. */
  signal?: AbortSignal
  /** Told what happens: `listener.closed`, `goodbye.started`, `socket.lost`, `request.cut`, `warning`, `error`. */
  on?: (event: ServiceEvent) => void
}

/** A request that was not answered whole. */
export interface Cut {
  readonly method: string
  /** The request's target without its query. */
  readonly path: string
  /** Milliseconds since its head had arrived, or since the drain began if that was earlier. */
  readonly age: number
  /** Where it was: without a head of a response (it was answered 503), in its response, or upgraded to another protocol. */
  readonly phase: 'handler' | 'response' | 'upgraded'
  /** How much of the response was handed to the kernel, in bytes; absent where that is not known: over HTTP/2, and for what began before the server was known. */
  readonly bytes: number | undefined
}

/** What came of a drain. */
export interface DrainReport {
  /** Requests that were under way, or came meanwhile, and were answered whole. */
  readonly finished: number
  readonly cut: readonly Cut[]
  /** Clients that left before their response was complete. */
  readonly left: number
  /** Requests that were answered 503 since `refuse` said so. */
  readonly refused: number
  /** How long it took, in milliseconds. */
  readonly took: number
}

/**
 * Closes a server without dropping a request, in the place of its `close()`: a server that somebody else has made, of
 * `node:http`, `node:https` or `node:http2`, in the middle of its work. It goes on answering what it has, tells each client
 * on its last response that it is the last one (HTTP/2: GOAWAY), closes its listener only when the queue of the kernel is empty, waits for
 * half-received requests and unsent responses, and half-closes where a plain close would reset. Resolves when every connection is
 * gone; the server is closed then, and emits `close`. Every caller gets the same promise.
 *
 * What is cut when the time is over is in the report, and never left out: a report without a cut means that every
 * request whose head had arrived was answered whole. Call `prepare(server)` before it listens, to have TLS handshakes, WebSockets and the
 * age of requests known from their beginning; without it they are known from here on.
 *
 * @throws `ERR_BAD_OPTION` for what is no such server, no duration, or a server that listens again after it was drained; at the
 * end, what `on` has thrown
 * @example
 * ```ts
 * import { createServer } from 'node:http'
 * import { drain } from 'steward/http'
 *
 * const server = createServer((_, response) => void response.end('hello')).listen(3000)
 * process.on('SIGTERM', async () => {
 *   const { cut } = await drain(server, { within: '20s' })
 *   process.exitCode = cut.length === 0 ? 0 : 1
 * })
 * ```
 */
export function drain(server: DrainableServer, options: DrainOptions = {}): Promise<DrainReport> {
  const running = DRAINS.get(server)
  if (running && !server.listening) return running
  try {
    check(server)
    checkOptions(options)
    if (running && foreignTraffic(server).traffic.isOver) throw drainedBefore()
    if (running) return running
    const report = drainNow(server, options, limitsOf(options))
    DRAINS.set(server, report)
    return report
  } catch (error) {
    return Promise.reject(error)
  }
}

/**
 * Begins to follow what a server does, so that `drain` knows all of it: to be called before the server listens. Costs a request about
 * two to three parts in a hundred of one that does nothing else.
 *
 * @throws `ERR_BAD_OPTION` for what is no server of `node:http`, `node:https` or `node:http2`
 */
export function prepare(server: DrainableServer): void {
  check(server)
  foreignTraffic(server)
}

const DRAINS = new WeakMap<NetServer, Promise<DrainReport>>()

function check(server: unknown): void {
  if (isHttpServer(server)) return
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot drain ${describe(server)}: it is no server, pass one of node:http, node:https or node:http2`,
  )
}

function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) {
    throw badOption(`Cannot drain with ${describe(options)} as options: pass an object`)
  }
  const { goodbye, signal, on } = options as { goodbye?: unknown; signal?: unknown; on?: unknown }
  checkGoodbye(goodbye)
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw badOption(`Cannot drain with ${describe(signal)} as "signal": pass an AbortSignal`)
  }
  if (on === undefined || typeof on === 'function') return
  throw badOption(`Cannot drain with ${describe(on)} as "on": pass a function`)
}

function drainedBefore(): StewardError {
  return badOption('Cannot drain a server that was drained and listens again: make a new one')
}

function badOption(message: string): StewardError {
  return new StewardError('ERR_BAD_OPTION', message)
}

interface Shares {
  delay: number
  idle: number
  within: number
}

function limitsOf({ within = '25s', delay = '0s', idle = '1s' }: DrainOptions): Shares {
  const shares = {
    within: milliseconds(within, 'within'),
    delay: milliseconds(delay, 'delay'),
    idle: milliseconds(idle, 'idle'),
  }
  if (shares.delay < shares.within) return shares
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot drain within ${within} with a delay of ${delay}: nothing is left after the delay, give "within" more`,
  )
}

async function drainNow(
  server: NetServer,
  { refuse, goodbye: { code = GOING_AWAY.code, reason = '' } = {}, signal, on }: DrainOptions,
  { within, delay, idle }: Shares,
): Promise<DrainReport> {
  const foreign = foreignTraffic(server)
  const { traffic } = foreign
  const cut: Cut[] = []
  const failures: unknown[] = []
  foreign.emit = (event) => {
    if (event.type === 'request.cut') cut.push(cutOf(event))
    try {
      on?.(event)
    } catch (error) {
      // The drain goes on; whoever waits for it hears of it
      failures.push(error)
    }
  }
  const began = realWorld.now()
  const last = Math.min(1_000, within / 10)
  const force = signal ?? new AbortController().signal
  const limits = {
    t1: Deadline.in(within - 2 * last),
    t2: Deadline.in(within - last),
    cleanup: Deadline.in(within),
    idle,
    force,
  }
  traffic.refuseFrom = refuse ? 'draining' : undefined
  traffic.goodbye = { ...GOING_AWAY, code, reason }
  traffic.stopping()
  await passed(Deadline.in(delay), force)
  const http1 = speaksHttp1(server) ? (server as Http1Server) : undefined
  const listener = new Listener({ acceptor: server, http1 }, traffic)
  await new Drain(traffic, listener, {
    ...limits,
    headersTimeout: http1?.headersTimeout ?? 0,
  }).run()
  listener.end()
  traffic.isOver = true
  if (failures.length > 0) throw failures[0]
  const { left, refused } = traffic.served
  return { finished: traffic.finished, cut, left, refused, took: realWorld.now() - began }
}

function cutOf(event: Extract<ServiceEvent, { type: 'request.cut' }>): Cut {
  const { method, url, age, phase, bytes } = event
  return { method, path: url, age, phase, bytes }
}

function passed(deadline: Deadline, force: AbortSignal): Promise<void> {
  if (deadline.remaining === 0 || force.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const release = deadline.when(resolve)
    const hurry = (): void => {
      release()
      resolve()
    }
    force.addEventListener('abort', hurry, { once: true })
  })
}

import type { Http2Server, ServerHttp2Session } from 'node:http2'
import type { Server } from 'node:net'
import { connectionOf } from './connections.ts'
import { goAway } from './http2.ts'
import { BACKLOG } from './listening.ts'

/** What a client may take, so that a slow or a hostile one takes nothing from the others. Times are in milliseconds, sizes in bytes. */
export interface Limits {
  /** How long an idle connection is kept: longer than the 60 s of the usual balancers, which must be the first to close; 0: not at all, as with nginx. */
  keepAlive: number
  /** How long a request's head may take to arrive, and the first byte of a new connection: against clients that send a byte now and then. */
  headers: number
  /** How long a whole request may take to arrive, its body included; 0: as long as it likes. */
  request: number
  /** How long a client may leave a response unread, so that nothing more can be sent; 0: as long as it likes. */
  send: number
  /** How large a request's head may be. */
  headerSize: number
  /** How many connections may be open at a time; what comes beyond is closed at once. `Infinity`: as many as the machine holds. */
  connections: number
  /** How many connections the kernel queues until they are accepted; no more than its own limit (`net.core.somaxconn`). */
  backlog: number
}

/** What holds where nothing else is said. */
export const DEFAULT_LIMITS: Readonly<Limits> = {
  keepAlive: 75_000,
  headers: 20_000,
  request: 300_000,
  send: 60_000,
  headerSize: 16_384,
  connections: Infinity,
  backlog: BACKLOG,
}

/** How often Node looks for requests that have taken too long, in milliseconds: its 30 s would stretch every limit by as much. */
const CHECKS_EVERY = 5_000

/** How long a TLS handshake may take at most, in milliseconds; no longer than a head may. */
export const HANDSHAKE_LIMIT = 10_000

/** How many streams a client may have open on one HTTP/2 connection. */
const STREAMS = 250

/** The limits as `http.createServer` takes them. */
export function http1Options(limits: Limits): object {
  return {
    keepAliveTimeout: limits.keepAlive,
    headersTimeout: limits.headers,
    // Node refuses a request's limit below that of its head
    requestTimeout: limits.request === 0 ? 0 : Math.max(limits.request, limits.headers),
    maxHeaderSize: limits.headerSize,
    connectionsCheckingInterval: Math.min(CHECKS_EVERY, limits.headers),
  }
}

/** The limits as `http2.createServer` takes them. */
export function http2Options(limits: Limits): object {
  return {
    maxHeaderListPairs: 2_000,
    settings: { maxConcurrentStreams: STREAMS, maxHeaderListSize: limits.headerSize },
  }
}

/** Puts the limits on the servers that Node takes as properties. */
export function limitServers(
  { acceptor, http2 }: { acceptor: Server; http2: Http2Server | undefined },
  limits: Limits,
): void {
  http2?.setTimeout(limits.keepAlive || limits.headers)
  if (limits.connections !== Infinity) acceptor.maxConnections = limits.connections
}

/** An HTTP/2 connection on which nothing has moved for as long as one is kept: closed in order, unless a stream is open. */
export function endIdle(session: ServerHttp2Session, keepAlive: number): void {
  const connection = connectionOf(session)
  if (connection?.last) session.setTimeout(keepAlive)
  else if (connection) goAway(connection)
}

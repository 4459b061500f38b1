import type { Socket } from 'node:net'
import { connectionOf, type Connection } from './connections.ts'
import type { Exchange } from './exchange.ts'

/** How long a half-closed connection may take to return our FIN, in milliseconds. */
const LINGER = 2_000

/** How long it may take while it still uploads, and nothing is being stopped: many clients read no answer before that. As long as with nginx. */
const LINGER_LONG = 30_000

/**
 * Half-closes a connection after what is still to be sent, and discards what comes until the client's FIN, 2 s at most; while no stop is
 * under way, as long as an upload goes on, 30 s at most.
 * A plain close with unread input makes the kernel reset the connection and drop the tail of the response (RFC 9112 §9.6).
 * With TLS, `close_notify` goes before the FIN.
 */
export function linger(connection: Connection): void {
  if (connection.state === 'lingering' || connection.state === 'gone') return
  connection.socket.end()
  connection.socket.resume()
  lingerOn(connection)
}

/** The same for one that somebody else half-closes. */
export function lingerOn(connection: Connection): void {
  if (connection.state === 'lingering' || connection.state === 'gone') return
  const { raw, traffic } = connection
  connection.state = 'lingering'
  const until = traffic.world.now() + LINGER_LONG
  let read = raw.bytesRead
  const end = (): void => {
    const isUploading = raw.bytesRead > read && traffic.world.now() < until
    read = raw.bytesRead
    const waits =
      connection.exchanges.some(isReading) || (traffic.stage === 'serving' && isUploading)
    if (waits) release = traffic.world.timer(LINGER, end)
    else raw.destroy()
  }
  let release = traffic.world.timer(LINGER, end)
  raw.once('close', () => release())
}

/** Has its handler answered before it has read all that it wants to? */
function isReading({ busy, request }: Exchange): boolean {
  return busy && !request.complete
}

/** Makes Node linger where it would destroy the socket after a last response. Until the socket is closed. */
export function lingerAtEnd(socket: Socket): void {
  socket.destroySoon = lingerSoon
}

function lingerSoon(this: Socket): void {
  const connection = connectionOf(this)
  if (connection) linger(connection)
}

/** How long a client that sends no more may wait for its answer, in milliseconds: by then it is taken for one that has gone. */
const HALF_OPEN = 5_000

/**
 * For the `end` of a client: keeps its connection while its requests are being answered, 5 s at most. Most such clients have gone,
 * and handlers hear of it by their signal; some wait for the answer still (RFC 9112 §9.6). Node would end it at once.
 */
export function waitHalfOpen(socket: Socket): void {
  const connection = connectionOf(socket)
  if (!connection || connection.session || connection.upgraded) return
  const waiting = connection.exchanges.filter(({ unanswered }) => unanswered)
  if (waiting.length === 0) return
  for (const exchange of waiting) exchange.interrupt('gone')
  // What cannot be sent for as long will not be sent any more
  socket.setTimeout(HALF_OPEN)
  const release = connection.traffic.world.timer(HALF_OPEN, () => socket.end())
  socket.once('close', release)
}

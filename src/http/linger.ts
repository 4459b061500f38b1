import type { Socket } from 'node:net'
import { connectionOf, type Connection } from './connections.ts'

/** How long a half-closed connection may take to return our FIN, in milliseconds. */
const LINGER = 2_000

/**
 * Half-closes a connection after what is still to be sent, and discards what comes until the client's FIN, 2 s at most.
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
  const release = traffic.world.timer(LINGER, () => raw.destroy())
  raw.once('close', release)
}

/** Makes Node linger where it would destroy the socket after a last response. Until the socket is closed. */
export function lingerAtEnd(socket: Socket): void {
  socket.destroySoon = lingerSoon
}

function lingerSoon(this: Socket): void {
  const connection = connectionOf(this)
  if (connection) linger(connection)
}

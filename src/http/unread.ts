import type { IncomingMessage } from 'node:http'
import type { Connection } from './connections.ts'
import type { Exchange } from './exchange.ts'
import { breakRequest } from './http2.ts'
import { isDumped, isPiped, isTaken, takeBody } from './internals.ts'
import { linger } from './linger.ts'

/** How long a body may be that is read to its end though its handler never began to, in bytes: as with Go. A connection is worth as much. */
const LONG = 262_144

/** How much of a body is read that turned out to be long, in bytes. */
const MOST = 67_108_864

/** How long that may take, in milliseconds: as with nginx. */
const READING = 30_000

/** May its request leave so much unread that `leavesLong` is to be asked? The usual ones have no body. */
export function mayLeaveLong({ method, rawHeaders }: IncomingMessage): boolean {
  return method !== 'GET' && method !== 'HEAD' && lengthIn(rawHeaders) > LONG
}

/** Is most of its body still to come, and long, and has its handler not begun to read it? Its answer is then the last one of the connection. */
export function leavesLong(request: IncomingMessage): boolean {
  return !request.complete && !request.readableDidRead && mayLeaveLong(request)
}

function lengthIn(headers: readonly string[]): number {
  const at = headers.findIndex((name, index) => index % 2 === 0 && isLength(name))
  return at < 0 ? 0 : Number(headers[at + 1])
}

function isLength(name: string): boolean {
  return name.length === 14 && name.toLowerCase() === 'content-length'
}

/**
 * Once an exchange of HTTP/1.1 needs its connection no longer: reads what its handler has left of the request, and drops it, so that the
 * requests behind are reached. Whoever still reads it is left alone, until it pauses; whoever had begun to hears that the rest will not come.
 * After 30 s, or 64 MiB, the connection is half-closed: nothing behind that body has been taken.
 */
export function dropUnread(exchange: Exchange): void {
  const { request, connection } = exchange
  if (connection.session || request.complete || connection.state === 'gone') return
  if (isTaken(request) || isAwaited(exchange)) return
  if (!isRead(request)) drop(request, connection)
  else request.on('pause', () => void (isRead(request) || drop(request, connection)))
}

/** Work that was handed over may read it; it is asked again when that is done. */
function isAwaited(exchange: Exchange): boolean {
  const { background } = exchange.connection.traffic
  return background.size > 0 && [...background].some((entry) => entry.exchange === exchange)
}

/** A pipe pauses when its target is slower. */
function isRead(request: IncomingMessage): boolean {
  if (request.destroyed || isDumped(request)) return false
  return request.readableFlowing === true || isPiped(request)
}

function drop(request: IncomingMessage, connection: Connection): void {
  const { socket, traffic } = connection
  let left = MOST
  const giveUp = (): void => linger(connection)
  const releaseTimer = traffic.world.timer(READING, giveUp, 'idle')
  const release = (): void => {
    releaseTimer()
    socket.off('close', release)
  }
  socket.on('close', release)
  breakOff(request)
  takeBody(request, (bytes) => {
    left -= bytes
    if (left < 0) giveUp()
    if (left < 0 || bytes === 0) release()
  })
  // It was paused with the request
  socket.resume()
}

/** Tells whoever has begun to read it; Node would end the connection with it. What nobody has touched, Node reads to its end itself. */
function breakOff(request: IncomingMessage): void {
  if (isDumped(request)) return
  const { socket } = request
  Object.assign(request, { socket: null })
  breakRequest(request)
  Object.assign(request, { socket })
}

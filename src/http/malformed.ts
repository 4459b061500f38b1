import { STATUS_CODES } from 'node:http'
import type { Server, Socket } from 'node:net'
import { connectionOf, type Connection } from './connections.ts'
import type { Exchange } from './exchange.ts'
import { linger } from './linger.ts'
import { answerFor } from './refuse.ts'

/** What is said to something that is no request, by the code of Node's error; 400 to everything else. */
const STATUS: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/**
 * Answers what cannot be read behind the answers of the requests before it, and ends the connection. Node would put its 400
 * in the place of an answer that is still being made, though the work for it is done, and drop those that follow.
 */
export function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): true {
  const connection = connectionOf(socket)
  // The rest of it fails again, piece by piece
  if (connection && connection.state !== 'open') return true
  const status = STATUS[error.code ?? ''] ?? 400
  if (connection && !socket.destroyed) answerLast(connection, status, error)
  else socket.destroy()
  return true
}

/**
 * Answers a CONNECT that nobody listens for, likewise: Node would destroy the connection. From that moment Node knows no more
 * of what is under way on it.
 */
export function answerConnect(socket: Socket): true {
  const connection = connectionOf(socket)
  socket.on('error', () => {})
  socket.on('drain', passDrain)
  socket.on('close', closeResponses)
  if (connection?.state === 'open') answerLast(connection, 501)
  else socket.destroy()
  socket.resume()
  return true
}

/** Makes Node hand over the CONNECT requests of a server, which it destroys when nobody listens. */
export function listenForConnect(server: Server): void {
  server.on('connect', nobodyAsked)
}

/** Has nobody but us asked for them? */
export function takesNoConnect(server: Server): boolean {
  const listeners = server.listeners('connect')
  return listeners.length === 1 && listeners[0] === nobodyAsked
}

function nobodyAsked(): void {}

interface Writing {
  _httpMessage?: { finished: boolean; emit(event: string): boolean } | null
}

/** What Node does itself for a connection that it has not given away. */
function passDrain(this: Socket): void {
  const { _httpMessage: response } = this as Writing
  if (response && !response.finished) response.emit('drain')
}

function closeResponses(this: Socket): void {
  for (const { response } of connectionOf(this)?.exchanges ?? []) response.destroy()
}

function answerLast(connection: Connection, status: number, error?: Error): void {
  connection.state = 'refused'
  const before = connection.exchanges.findLast(isWhole)
  const end = (): void => endWith(connection, status, error)
  if (before) before.response.once('close', end)
  else end()
}

/** One whose body has not come whole is itself what cannot be read. */
function isWhole({ unanswered, request }: Exchange): boolean {
  return unanswered && request.complete
}

function endWith(connection: Connection, status: number, error: Error | undefined): void {
  const { socket } = connection
  const half = connection.exchanges.find(({ unanswered }) => unanswered)
  if (half) return endHalf(half, status, error)
  if (socket.writable) socket.write(lastAnswer(status))
  linger(connection)
}

/** Ends with the answer to a request whose body cannot be read; then whoever reads the body hears of it. */
function endHalf(exchange: Exchange, status: number, error: Error | undefined): void {
  const { request, response, connection } = exchange
  // Node forgets a request whose response is over: nobody else would tell its reader
  connection.socket.once('close', () => request.destroy(error))
  // Answered, or about to be, by a handler that did not need all of it
  if (response.writableEnded) response.once('close', () => linger(connection))
  else if (!answerFor(exchange, status, CLOSE)) connection.socket.destroy(error)
  // Not when the answer is out: beneath TLS, a connection that was reset may never say that it is not
  else linger(connection)
}

const CLOSE = { Connection: 'close' }

function lastAnswer(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
}

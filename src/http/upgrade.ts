import { ServerResponse, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { StewardError } from '../base/errors.ts'
import { connectionOf, type Connection, type Speaker } from './connections.ts'
import { Exchange, exchangeOf } from './exchange.ts'
import { linger } from './linger.ts'
import { detach } from './refuse.ts'

/** A request for a WebSocket does not become one: `code` is `ERR_NO_WEBSOCKET`. Told as `request.failed`. */
export class NoWebSocket extends StewardError {
  /** What it is answered with, or 400 when that is no error: the client has asked in vain. */
  readonly status: number

  constructor(status: number, why: string) {
    super('ERR_NO_WEBSOCKET', `Cannot open a WebSocket: ${why}`)
    this.status = status < 400 ? 400 : status
  }
}

/** What a 426 has to say beside its status (RFC 9110 §15.5.22); nothing over HTTP/2, which has no such headers (RFC 9113 §8.2.2). */
export function upgradeHeaders(response: ServerResponse): Record<string, string> {
  if (!(response instanceof ServerResponse)) return {}
  // Where the app names a connection option, Node leaves out that it closes
  const Connection = response.shouldKeepAlive ? 'Upgrade' : 'Upgrade, close'
  return { Upgrade: 'websocket', Connection }
}

/** What came behind the head of a request for another protocol: kept until somebody takes the connection, or answers. */
const HEADS = new WeakMap<Exchange, Buffer>()

/**
 * May a WebSocket come of it? Every other upgrade is answered as the request that it is, as a server may (RFC 9110 §7.8); so is one
 * that comes behind a request which is still being answered.
 */
export function asksForWebSocket({ method, headers, socket }: IncomingMessage): boolean {
  if (method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket') return false
  return connectionOf(socket)?.last === undefined
}

/**
 * The exchange of a request for a WebSocket, whose connection Node has given away. It is answered like any other, as the last of its
 * connection; whoever answers may take the connection in the place of that, with `takeUpgrade`.
 */
export function offerUpgrade(
  connection: Connection,
  request: IncomingMessage,
  head: Buffer,
): Exchange {
  const { socket } = connection
  const response = new ServerResponse(request)
  response.shouldKeepAlive = false
  response.assignSocket(socket)
  socket.on('error', ignore)
  socket.on('drain', passDrain)
  response.on('finish', endHttp)
  const exchange = new Exchange(request, response, connection)
  connection.add(exchange)
  HEADS.set(exchange, head)
  return exchange
}

/** A connection that speaks HTTP no more. */
export interface Taken {
  readonly socket: Socket
  /** What the client has sent behind its request. */
  readonly head: Buffer
}

/** Could its connection still be taken? */
export function isOffered(exchange: Exchange): boolean {
  return HEADS.has(exchange) && !exchange.response.headersSent
}

/**
 * Takes the connection of a request that asked for that: what is written to the response from now on goes nowhere. `undefined` when
 * it did not ask, was answered, or its client has gone.
 */
export function takeUpgrade(exchange: Exchange): Taken | undefined {
  const { response, connection } = exchange
  const { socket } = connection
  const head = HEADS.get(exchange)
  if (!head || response.headersSent || socket.destroyed) return undefined
  HEADS.delete(exchange)
  response.off('finish', endHttp)
  response.detachSocket(socket)
  detach(response)
  socket.off('drain', passDrain)
  socket.once('close', closeResponses)
  return { socket, head }
}

/** From now on `speaker` speaks on it. One that was being taken when the goodbyes were said hears its own at once. */
export function becomes(exchange: Exchange, speaker: Speaker): void {
  const { connection, request, path, since } = exchange
  const { traffic } = connection
  connection.upgraded = { method: request.method ?? '', path, since, speaker }
  traffic.speaks(speaker)
}

/**
 * Lets go of what Node has made of the request, which weighs as much as the connection: nobody will ask for it, and tens of thousands of
 * such connections may be open.
 */
export function forgetHttp(exchange: Exchange): void {
  const { method, url } = exchange.request
  Object.assign(exchange, {
    request: { method, url, complete: true, resume: ignore },
    response: NO_RESPONSE,
  })
}

/** What an exchange asks of a response, of one that is gone. */
const NO_RESPONSE = {
  headersSent: false,
  writableFinished: false,
  writableLength: 0,
  errored: null,
  emit: ignore,
  destroy: ignore,
}

/** What Node does itself for a connection that it has not given away. */
function passDrain(this: Socket): void {
  const { _httpMessage: response } = this as { _httpMessage?: ServerResponse | null }
  if (response && !response.writableEnded) response.emit('drain')
}

/** It was answered with a response after all. */
function endHttp(this: ServerResponse): void {
  const { socket } = this.req
  this.detachSocket(socket)
  const connection = connectionOf(socket)
  if (connection) linger(connection)
  tellAnswered(this)
  process.nextTick(() => this.emit('close'))
}

/** Where nobody has said why: the path may be none of a WebSocket, or a middleware has answered. What a stop has answered is told as that. */
function tellAnswered({ req, statusCode }: ServerResponse): void {
  const exchange = exchangeOf(req)
  if (!exchange || exchange.told || exchange.refused || exchange.turnedAway) return
  exchange.tellFailed(
    new NoWebSocket(statusCode, `the request for it was answered with ${statusCode}`),
  )
}

/** The protocol has ended: so has what asked for it. */
function closeResponses(this: Socket): void {
  for (const exchange of connectionOf(this)?.exchanges ?? []) {
    exchange.response.emit('close')
    exchange.responseClosed()
  }
}

function ignore(): void {}

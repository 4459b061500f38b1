import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Server, Socket } from 'node:net'
import { connectionOf, type Connection } from './connections.ts'
import { Exchange } from './exchange.ts'
import { becomesForeign } from './foreign-socket.ts'
import { endSession, goAway, sessionOf, streamOf } from './http2.ts'
import { innerSocket } from './internals.ts'
import { decideAtHead } from './last.ts'
import { lingerAtEnd } from './linger.ts'
import { answerConnect, takesNoConnect } from './malformed.ts'
import { refuse } from './refuse.ts'
import { follow, type Traffic } from './traffic.ts'
import { mayLeaveLong } from './unread.ts'

/** The events by which Node hands a request over, with its response. */
export type RequestEvent = 'request' | 'checkContinue' | 'checkExpectation'

/** Calls the listeners of an event, as the server would have without us. */
export type Emit = (event: string, ...args: unknown[]) => boolean

/** What becomes of what a server emits. */
export interface Takes {
  /** A request that may reach a handler. */
  request(exchange: Exchange, event: RequestEvent, emit: Emit): void
  /** A request for another protocol that may reach a handler, with what came behind it. Absent: its own listeners take it. */
  upgrade?(connection: Connection, request: IncomingMessage, head: Buffer): void
  /** Every other event: gives whether anybody has heard it. */
  other(event: string, args: unknown[], emit: Emit): boolean
}

const EXPECTING = new Set<string>(['checkContinue', 'checkExpectation'])

/**
 * Makes a server's `emit` ours: a listener, even a prepended one, could not keep a request from the others. From now on every
 * connection, session and request of the server is known to `traffic`.
 */
export function takeOver(server: Server, traffic: Traffic, takes: Takes): void {
  const emit: Emit = server.emit.bind(server)
  const isSecure = 'setSecureContext' in server
  // oxlint-disable-next-line max-params -- as many as Node's events have; a rest parameter would cost an array per request
  const ours = (
    event: string,
    first: unknown,
    second: unknown,
    third: unknown,
    fourth: unknown,
  ): boolean => {
    // The usual one first: it comes with every request
    if (event === 'request' || EXPECTING.has(event)) {
      const exchange = begin(traffic, first as IncomingMessage, second as ServerResponse)
      if (exchange) takes.request(exchange, event as RequestEvent, emit)
      return true
    }
    if (event === 'connection') accept(traffic, first as Socket, isSecure)
    else if (event === 'secureConnection') secured(traffic, first as Socket)
    else if (event === 'session') began(first as ServerHttp2Session)
    else if (event === 'stream') return takeStream(traffic, emit, [first, second, third, fourth])
    else if (event === 'connect' && takesNoConnect(server)) return answerConnect(second as Socket)
    else if (event === 'upgrade' || event === 'connect') {
      const request = first as IncomingMessage
      const connection = upgrading(request, second as Socket)
      if (connection && !mayUpgrade(connection)) return true
      if (connection && event === 'upgrade' && takes.upgrade) {
        takes.upgrade(connection, request, third as Buffer)
        return true
      }
      if (connection) becomesForeign(connection, request)
    } else return takes.other(event, [first, second, third], emit)
    return emit(event, first, second, third)
  }
  server.emit = ours as Server['emit']
}

function accept(traffic: Traffic, socket: Socket, isSecure: boolean): void {
  // What a TLS server hands on is known already
  if (connectionOf(socket)) return
  traffic.track(socket, isSecure ? 'handshaking' : 'open')
  if (!isSecure) lingerAtEnd(socket)
}

function secured(traffic: Traffic, socket: Socket): void {
  const raw = innerSocket(socket)
  const connection = (raw && connectionOf(raw)) ?? traffic.track(socket)
  connection.secured(socket)
  lingerAtEnd(socket)
  follow(socket)
}

function began(session: ServerHttp2Session): void {
  // The session gives a stand-in for its socket, which hands on what it does not know
  connectionOf(session.socket)?.began(session)
  session.on('goaway', onGoAway)
}

/** A client that says GOAWAY may never close; Node half-closes for it once this has been heard. */
function onGoAway(this: ServerHttp2Session): void {
  const connection = connectionOf(this)
  if (connection) process.nextTick(endSession, connection)
}

/** The exchange of a request that has come in; `undefined` when it may not reach a handler. */
function begin(
  traffic: Traffic,
  request: IncomingMessage,
  response: ServerResponse,
): Exchange | undefined {
  const stream = streamOf(request)
  const connection = stream
    ? // A client may reset a stream in the same piece that opens it: then there is nobody to answer
      connectionOf(sessionOf(stream))
    : connectionOfSocket(traffic, request)
  if (!connection?.open) {
    // After `Connection: close` a client must send no more (RFC 9112 §9.6); what it sends is read, and left
    request.resume()
    return undefined
  }
  const exchange = new Exchange(request, response, connection)
  const before = connection.last
  if (!stream) {
    if (before) decideAtHead(before.response)
    if (!traffic.isForeign && (!traffic.keepsIdle || mayLeaveLong(request))) decideAtHead(response)
  }
  connection.add(exchange)
  return traffic.stage === 'serving' ? exchange : whileStopping(exchange)
}

function connectionOfSocket(traffic: Traffic, { socket }: IncomingMessage): Connection {
  return connectionOf(socket) ?? traffic.track(socket)
}

function whileStopping(exchange: Exchange): Exchange | undefined {
  const { connection } = exchange
  const { stage } = connection.traffic
  if (!connection.session) decideAtHead(exchange.response)
  // The client has seen that it is served here; what it sends from now on belongs elsewhere
  else if (stage !== 'stopping') goAway(connection)
  if (stage === 'spent' || stage === 'refusing') exchange.interrupt('spent')
  if (stage !== 'refusing') return exchange
  refuse(exchange)
  exchange.handlerSettled()
  return undefined
}

/** A stream that no `request` event makes known, since only its own listeners take it. */
function takeStream(traffic: Traffic, emit: Emit, args: unknown[]): boolean {
  const [stream, headers] = args as [ServerHttp2Stream, Record<string, string>]
  const heard = emit('stream', ...args)
  const session = sessionOf(stream)
  const connection = session && connectionOf(session)
  const isKnown = connection?.exchanges.some(({ response }) => streamOf(response) === stream)
  if (!connection || isKnown) return heard
  const exchange = bareExchange(stream, connection, headers)
  if (traffic.stage !== 'serving') whileStopping(exchange)
  return heard
}

/** The exchange of a stream that has neither a request nor a response of Node's own kind. */
export function bareExchange(
  stream: ServerHttp2Stream,
  connection: Connection,
  headers: Readonly<Record<string, unknown>>,
): Exchange {
  const request = {
    method: headers[':method'],
    url: headers[':path'],
    stream,
    resume: () => stream.resume(),
  }
  const exchange = new Exchange(
    request as never,
    new BareResponse(stream, request) as never,
    connection,
  )
  connection.add(exchange)
  exchange.handlerSettled()
  return exchange
}

/** What an exchange asks of a response, of a stream that has none. */
class BareResponse {
  readonly stream: ServerHttp2Stream
  readonly req: object

  constructor(stream: ServerHttp2Stream, req: object) {
    this.stream = stream
    this.req = req
  }

  get headersSent(): boolean {
    return this.stream.headersSent
  }

  get writableLength(): number {
    return this.stream.writableLength
  }

  get statusCode(): number {
    return Number(this.stream.sentHeaders?.[':status'] ?? 0)
  }
}

const UNAVAILABLE =
  'HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n'

/** The connection that is asked to become something else; `undefined` when only a stream of it is, or it is not known. */
function upgrading(request: IncomingMessage, socket: Socket): Connection | undefined {
  return streamOf(request) ? undefined : connectionOf(socket)
}

/** May it become something else now? While it drains, the client is to ask elsewhere. */
function mayUpgrade({ open, socket, traffic: { stage } }: Connection): boolean {
  if (open && (stage === 'serving' || stage === 'stopping')) return true
  socket.on('error', ignore)
  if (open) socket.end(UNAVAILABLE)
  else socket.destroy()
  return false
}

function ignore(): void {}

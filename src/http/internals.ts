import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Server, Socket } from 'node:net'

/*
 * What only Node's own code knows, and keeps in fields and under symbols that are not documented: everything of that kind is read
 * here, and gives nothing where it is not found.
 */

interface Parsers {
  all(): { socket: Socket | null }[]
  idle(): { socket: Socket | null }[]
}

interface Parser {
  /** The request whose head has been received, until its body has been read. */
  incoming?: { complete: boolean } | null
}

/**
 * The sockets on which nothing of a request has arrived since the last one, as Node keeps them for its own timeouts: counting bytes
 * instead would be wrong for pipelined heads and for bodies that outlast their response.
 */
export function betweenRequests(server: Server): ReadonlySet<Socket> {
  return new Set(socketsIn(parsersOf(server)?.idle()))
}

/** The sockets on which a server speaks HTTP/1.1. */
export function http1Sockets(server: Server): Socket[] {
  return socketsIn(parsersOf(server)?.all())
}

function parsersOf(server: Server): Parsers | undefined {
  return hidden<Parsers>(server, 'http.server.connections')
}

function socketsIn(parsers: { socket: Socket | null }[] = []): Socket[] {
  return parsers.map(({ socket }) => socket).filter((socket) => socket !== null)
}

/** Is the head of the request that arrives on it whole, and only its body incomplete? */
export function hasWholeHead(socket: Socket): boolean {
  const { parser } = socket as { parser?: Parser | null }
  return parser?.incoming?.complete === false
}

/** Does Node read it to its end and drop it, because nobody has touched it? */
export function isDumped(request: IncomingMessage): boolean {
  return (request as { _dumped?: boolean })._dumped === true
}

/** Is it piped to somewhere, or read by `readable`? It pauses then now and then. */
export function isPiped(request: IncomingMessage): boolean {
  const { pipes } = (request as { _readableState?: { pipes?: unknown[] } })._readableState ?? {}
  return (pipes?.length ?? 0) > 0 || request.listenerCount('readable') > 0
}

/** Has its body been taken by `takeBody`? */
export function isTaken(request: IncomingMessage): boolean {
  return Object.hasOwn(request, 'push')
}

/** From now on, what arrives of a body goes to `take`, by its length in bytes; 0 is its end. */
export function takeBody(request: IncomingMessage, take: (bytes: number) => void): void {
  const { push } = request
  const pushed = (piece: Uint8Array | null): boolean => {
    take(piece?.length ?? 0)
    return piece !== null || push.call(request, null)
  }
  // What Node dumps it does not push
  Object.assign(request, { _dumped: false, push: pushed })
}

/** The response that is being sent on a socket, or is to be sent next; later ones of a pipeline are not known. */
export function currentResponse(socket: Socket): ServerResponse | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}

/** Was its head rendered with `Connection: close`, by whomever? */
export function saysClose(response: ServerResponse): boolean {
  return (response as { _last?: boolean })._last === true
}

interface Handle {
  /** What was handed to the handle, in bytes. */
  readonly bytesWritten?: number
  /** What of that it still has. */
  readonly writeQueueSize?: number
}

/** How much of what was written to a socket the kernel has not taken yet, in bytes. */
export function writeQueueOf(socket: Socket): number {
  return handleOf(socket)?.writeQueueSize ?? 0
}

/** How much the kernel has taken of what was written to a socket, in bytes. */
export function takenOf(socket: Socket): number {
  const { bytesWritten = 0, writeQueueSize = 0 } = handleOf(socket) ?? {}
  return bytesWritten - writeQueueSize
}

function handleOf(socket: Socket): Handle | undefined {
  return (socket as { _handle?: Handle | null })._handle ?? undefined
}

/** How many of the connections that a server has accepted are open: Node tells it to a callback alone. */
export function connectionsOf(server: Server): number {
  return (server as { _connections?: number })._connections ?? 0
}

/** How many connections the kernel is to queue from now on, of a server that listens. Did it take that? */
export function setBacklog(server: Server, backlog: number): boolean {
  const { _handle: handle } = server as { _handle?: { listen?(backlog: number): number } | null }
  return handle?.listen?.(backlog) === 0
}

/** What a TLS socket was made around. */
export function innerSocket(socket: Socket): Socket | undefined {
  return (socket as { _parent?: Socket | null })._parent ?? undefined
}

/** The HTTP/2 sessions of a server, with their sockets. */
export function http2Sessions(server: Server): { session: ServerHttp2Session; socket: Socket }[] {
  const sessions = hidden<Iterable<ServerHttp2Session>>(server, 'sessions') ?? []
  return [...sessions].flatMap((session) => {
    const socket = hidden<Socket>(session, 'socket')
    return socket ? [{ session, socket }] : []
  })
}

/** The streams that are open on a session, with the request and the response that Node has made of each, where it has. */
export function openStreams(
  session: ServerHttp2Session,
): { stream: ServerHttp2Stream; request: object | undefined; response: object | undefined }[] {
  const state = hidden<{ streams?: Map<number, ServerHttp2Stream> }>(session, 'state')
  return [...(state?.streams?.values() ?? [])].map((stream) => ({
    stream,
    request: hidden<object>(stream, 'request'),
    response: hidden<object>(stream, 'response'),
  }))
}

function hidden<T>(object: object, description: string): T | undefined {
  const symbol = Object.getOwnPropertySymbols(object).find((one) => one.description === description)
  return symbol && (object as Record<symbol, T | undefined>)[symbol]
}

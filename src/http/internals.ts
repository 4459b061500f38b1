import type { ServerResponse } from 'node:http'
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

/** The response that is being sent on a socket, or is to be sent next; later ones of a pipeline are not known. */
export function currentResponse(socket: Socket): ServerResponse | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}

/** Was its head rendered with `Connection: close`, by whomever? */
export function saysClose(response: ServerResponse): boolean {
  return (response as { _last?: boolean })._last === true
}

/** How much of what was written to a socket the kernel has not taken yet, in bytes. */
export function writeQueueOf(socket: Socket): number {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: number } | null }
  return handle?.writeQueueSize ?? 0
}

/** How many of the connections that a server has accepted are open: Node tells it to a callback alone. */
export function connectionsOf(server: Server): number {
  return (server as { _connections?: number })._connections ?? 0
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

import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/**
 * What only Node's parser knows: whether a part of a request has arrived. Node keeps that for its own timeouts, in lists that
 * are not documented; counting bytes instead would be wrong for pipelined heads and for bodies that outlast their response.
 */
interface Parsers {
  idle(): { socket: Socket | null }[]
}

interface Parser {
  /** The request whose head has been received, until its body has been read. */
  incoming?: { complete: boolean } | null
}

const NAME = 'http.server.connections'

/** The sockets on which nothing of a request has arrived since the last one; empty when Node does not tell. */
export function betweenRequests(server: Server): ReadonlySet<Socket> {
  const symbol = Object.getOwnPropertySymbols(server).find(
    ({ description }) => description === NAME,
  )
  const parsers = symbol && (server as unknown as Record<symbol, Parsers | undefined>)[symbol]
  const sockets = parsers?.idle().map(({ socket }) => socket) ?? []
  return new Set(sockets.filter((socket) => socket !== null))
}

/** Is the head of the request that arrives on it whole, and only its body incomplete? */
export function hasWholeHead(socket: Socket): boolean {
  const { parser } = socket as { parser?: Parser | null }
  return parser?.incoming?.complete === false
}

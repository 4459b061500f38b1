import type { ServerResponse } from 'node:http'
import type { Server } from 'node:net'
import type { Emit } from '../base/events.ts'
import { realWorld } from '../base/world.ts'
import type { Connection } from './connections.ts'
import { Exchange, exchangeOf } from './exchange.ts'
import {
  betweenRequests, currentResponse, http1Sockets, http2Sessions, openStreams,
} from './internals.ts' // oxfmt-ignore
import { turnAway } from './refuse.ts'
import { bareExchange, takeOver } from './take-over.ts'
import { Traffic } from './traffic.ts'

const TRAFFIC = Symbol('steward.traffic')

interface Carrier {
  [TRAFFIC]?: Foreign
}

/** The traffic of a server that somebody else has made, and who hears of it. */
export interface Foreign {
  readonly traffic: Traffic
  /** Set while it is being drained. */
  emit: Emit
}

/** Takes over a server that somebody else has made, with what is under way on it. Once; later calls give the same. */
export function foreignTraffic(server: Server): Foreign {
  const carrier = server as Carrier
  if (carrier[TRAFFIC]) return carrier[TRAFFIC]
  const emit: Emit = (event) => foreign.emit(event)
  const traffic = new Traffic(emit, realWorld, () => betweenRequests(server))
  traffic.isForeign = true
  const foreign: Foreign = { traffic, emit: () => {} }
  carrier[TRAFFIC] = foreign
  takeOver(server, traffic, {
    request(exchange, event, emit) {
      if (traffic.turnsAway) return turnAway(exchange)
      traffic.served.requests++
      emit(event, exchange.request, exchange.response)
      // What the listeners do beyond the response, they tell nobody
      exchange.handlerSettled()
    },
    other: (event, args, emit) => emit(event, ...args),
  })
  adopt(server, traffic)
  return foreign
}

/** Makes known what was under way before. */
function adopt(server: Server, traffic: Traffic): void {
  for (const socket of http1Sockets(server)) adoptResponse(traffic.track(socket))
  for (const { session, socket } of http2Sessions(server)) {
    const connection = traffic.track(socket)
    connection.began(session)
    for (const { stream, request, response } of openStreams(session)) {
      if (request && response) adoptExchange(connection, response as ServerResponse)
      else bareExchange(stream, connection, {})
    }
  }
  traffic.onAnswered = adoptResponse
}

/**
 * Node takes the responses of a pipeline up one after the other: each becomes known when the one before it is over. None of them
 * says that it is the last, since another may wait behind it; the connection has its window afterwards.
 */
function adoptResponse(connection: Connection): void {
  const response = currentResponse(connection.socket)
  connection.mayHaveMore = response !== undefined && connection.mayHaveMore
  if (!response || exchangeOf(response.req)) return
  connection.mayHaveMore = true
  adoptExchange(connection, response)
}

function adoptExchange(connection: Connection, response: ServerResponse): void {
  const exchange = new Exchange(response.req, response, connection)
  connection.add(exchange)
  exchange.handlerSettled()
}

/** Is it a server that can be taken over: of `node:http`, `node:https` or `node:http2`? */
export function isHttpServer(value: unknown): value is Server {
  if (typeof value !== 'object' || value === null || !('listening' in value)) return false
  return 'closeIdleConnections' in value || 'updateSettings' in value
}

/** Speaks it HTTP/1.1, and has Node's own timer for that? */
export function speaksHttp1(server: Server): boolean {
  return 'closeIdleConnections' in server
}

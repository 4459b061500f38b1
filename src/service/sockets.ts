import type { Socket as NetSocket } from 'node:net'
import { StewardError } from '../base/errors.ts'
import type { World } from '../base/world.ts'
import { Exchange } from '../http/exchange.ts'
import { takenOf } from '../http/internals.ts'
import { becomes, forgetHttp, isOffered, takeUpgrade, upgradeHeaders } from '../http/upgrade.ts'
import { run, stopping } from '../scope/builtin.ts'
import type { Plan } from '../scope/graph.ts'
import { handlerKind } from '../scope/kind.ts'
import { definitionOf, type Resources } from '../scope/resource.ts'
import type { Handshake, Refusal } from '../websocket/handshake.ts'
import type { BadMessage } from '../websocket/message.ts'
import type { Pulse } from '../websocket/pulse.ts'
import { ServerSocket, type Closed, type Line } from '../websocket/socket.ts'
import type { Ws } from '../websocket/ws.ts'
import type { Visit } from './visit.ts'

/** What stands in the way of a WebSocket; `undefined`: nothing. */
export function refusalOf({ transport }: Visit, handshake: Handshake): Refusal | undefined {
  if (!(transport instanceof Exchange)) return notHere({ Upgrade: 'websocket' })
  const upgrade = upgradeHeaders(transport.response)
  if (!isOffered(transport)) return notHere(upgrade)
  const refusal = handshake.refusal(transport.request)
  if (refusal?.status !== 426) return refusal
  return { ...refusal, headers: { ...upgrade, ...refusal.headers } }
}

/** Of a request that cannot become a WebSocket. */
export function notHere(headers: Record<string, string>): Refusal {
  return { status: 426, why: 'this path speaks WebSocket, over HTTP/1.1', headers }
}

/** The WebSocket of a request that nothing stands in the way of. Its handshake is performed at its first use, or by `accept`. */
export function socketOf(visit: Visit, handshake: Handshake): ServerSocket {
  const exchange = visit.transport as Exchange
  const socket = new ServerSocket(new VisitLine(visit, exchange, handshake))
  visit.socket = socket
  return socket
}

/** What the WebSocket of a visit was opened with. */
export function handshakeOf(visit: Visit): Handshake {
  return ((visit.socket as ServerSocket).line as VisitLine).handshake
}

/** A handler has settled, well or with an error: its socket is closed, and the error told. */
export function handlerSettled(visit: Visit, failure?: { readonly error: unknown }): void {
  const socket = visit.socket as ServerSocket
  if (!failure || isAnswer(failure.error, stoppingOf(visit))) return socket.finish()
  visit.transport.fail(failure.error)
  visit.transport.tellFailed(failure.error)
  socket.finish(failure)
}

/** Does an error only say that a signal was heard: that of the stop? */
export function isAnswer(error: unknown, { aborted, reason }: AbortSignal): boolean {
  if (!aborted) return false
  return error === reason || (error instanceof Error && error.cause === reason)
}

/** Aborted when the service of a visit begins to stop. */
export function stoppingOf({ host }: Visit): AbortSignal {
  return host.app.scope.input('stopping') as AbortSignal
}

/** Does a handler that is given these hear of the stop by them? */
export function heedsStop(wanted: Resources): boolean {
  return Object.values(wanted).includes(stopping)
}

/** A connection lasts for hours: nothing of the handler is kept open as long. @throws `ERR_CAPTIVE` */
export function refuseHandlerScoped(wanted: Resources): void {
  for (const [name, resource] of Object.entries(wanted)) {
    if (definitionOf(resource)?.kind !== handlerKind) continue
    throw new StewardError(
      'ERR_CAPTIVE',
      `Cannot inject "${name}" into a WebSocket or a stream: it is closed with its handler, and that may last for hours; inject run, and open it for each message, run({ ${name} }, …)`,
      { path: [name] },
    )
  }
}

/** Is the socket among what is wanted, or what that stands on? */
export function wantsSocket(plan: Plan): boolean {
  return plan.steps.some(({ definition }) => definition.input === 'socket')
}

/** Is the socket among these, or what they stand on, as far as that is known before a start? */
export function mayWantSocket(wanted: Record<string, unknown>): boolean {
  return Object.values(wanted).some((resource) => {
    const { input, deps = {} } = definitionOf(resource) ?? {}
    // What a circular import has not filled in yet may be anything
    return resource === undefined || input === 'socket' || mayWantSocket(deps)
  })
}

/** What a request is kept for: what reads it, and what may open later what reads it. */
const READS_REQUEST = new Set<unknown>(['request', 'context'])

/** Lets go of the request that a socket has come of, where nothing that was opened for it can ask for that. */
export function forgetRequest(visit: Visit, plan: Plan): void {
  const { everyRequest } = visit.host as { everyRequest?: Resources }
  const reads = plan.steps.some(
    ({ definition }) => READS_REQUEST.has(definition.input) || definition === RUN,
  )
  if (reads || everyRequest || !(visit.transport instanceof Exchange)) return
  visit.forgetRequest()
  forgetHttp(visit.transport)
}

const RUN = definitionOf(run)

/** What a socket has around it, in a running service. */
class VisitLine implements Line {
  readonly #visit: Visit
  readonly #exchange: Exchange
  readonly handshake: Handshake

  constructor(visit: Visit, exchange: Exchange, handshake: Handshake) {
    this.#visit = visit
    this.#exchange = exchange
    this.handshake = handshake
  }

  get raw(): NetSocket {
    return this.#exchange.connection.socket
  }

  get world(): World {
    return this.#exchange.connection.traffic.world
  }

  get pulse(): Pulse {
    return this.handshake.pulse(this.world)
  }

  get signal(): AbortSignal {
    return this.#exchange.signal
  }

  get stopping(): AbortSignal {
    return stoppingOf(this.#visit)
  }

  get farewell(): Closed | undefined {
    const { stage, goodbye } = this.#exchange.connection.traffic
    return stage === 'serving' ? undefined : goodbye
  }

  get taken(): number {
    return takenOf(this.#exchange.connection.raw)
  }

  accept(): Ws | undefined {
    const taken = takeUpgrade(this.#exchange)
    if (!taken) return undefined
    return this.handshake.accept(this.#exchange.request, taken)
  }

  accepted(): void {
    becomes(this.#exchange, this.#visit.socket as ServerSocket)
  }

  faulty(error: BadMessage): void {
    this.#visit.transport.tellFailed(error)
  }

  parted(what: 'told' | 'lost'): void {
    const { traffic, upgraded } = this.#exchange.connection
    if (upgraded) traffic.tellParted(what, upgraded)
  }
}

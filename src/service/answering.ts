import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { describe, StewardError } from '../base/errors.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Plan } from '../scope/graph.ts'
import type { Resources } from '../scope/resource.ts'
import type { FetchTransport } from './fetches.ts'
import type { Adopted } from './framework.ts'
import { isFetchApp, isMade, type FetchApp, type NodeListener } from './service.ts'
import { answerError, answerOf, isResponse } from './thrown.ts'
import { PlanFor, Visit, type Host } from './visit.ts'

const VISIT = Symbol('steward.visit')
const HOST: unique symbol = Symbol.for('steward.host')

/** The visit of a request that Node received; `undefined` when no service of ours did. */
export function visitOf(request: IncomingMessage): Visit | undefined {
  return (request as { [VISIT]?: Visit })[VISIT]
}

/** From now on the request is known by its visit. */
export function putVisit(request: IncomingMessage, visit: Visit): void {
  ;(request as { [VISIT]?: Visit })[VISIT] = visit
}

/** What handlers find a running service by where a request did not come through it: the environment of `app.request`. */
export function envOf<Running extends object>(running: Running): { [HOST]: Running } {
  return { [HOST]: running }
}

/** The running service that an environment belongs to: `running.env`, or a handler's own that it hands on to `app.request`. */
export function runningIn(env: unknown): object | undefined {
  if (typeof env !== 'object' || env === null) return undefined
  const { [HOST]: running, incoming } = env as { [HOST]?: object; incoming?: IncomingMessage }
  return running ?? (incoming && visitOf(incoming)?.host)
}

/** Answers requests with an app: over HTTP, and by `fetch` where it can. */
export interface Answering {
  overHttp(request: IncomingMessage, response: ServerResponse, exchange: Exchange): unknown
  byFetch(request: Request, transport: FetchTransport): Promise<Response>
  /** Takes a request for a WebSocket, where the app speaks that by itself. */
  readonly upgrade?: (request: IncomingMessage, socket: Socket, head: Buffer) => void
}

/** Puts an app to work in a running service. Loads the adapter for fetch apps only where there is one. */
export async function answeringWith(
  adopted: Adopted | undefined,
  host: Host,
  every: Resources | undefined,
): Promise<Answering> {
  const first = every && new PlanFor(every)
  if (adopted === undefined) return nothingToServe
  const { app, server } = adopted
  if (!isFetchApp(app)) return listenerAnswering(app, { host, server, first })
  const { getRequestListener } = await import('@hono/node-server')
  const answer = fetchAnswers(app, first)
  const listener = getRequestListener(
    (request, env) =>
      answer(visitOf((env as { incoming: IncomingMessage }).incoming)!, request, env),
    // Its own cleanup ends the connection or the stream half a second behind an answer; our server reads, or ends, what nobody reads
    { errorHandler: answerUnusable, autoCleanupIncoming: false },
  )
  return {
    overHttp(request, response, exchange) {
      putVisit(request, new Visit(host, exchange, request))
      return listener(request, response)
    },
    byFetch: async (request, transport) =>
      answer(new Visit(host, transport, request), request, envOf(host)),
  }
}

/** What could not be made a `Request` of: its target or its `Host` is no URL. The app has not seen it. */
function answerUnusable(error: unknown): Response {
  const isTheirs = error instanceof Error && error.name === 'RequestError'
  return new Response(null, { status: isTheirs ? 400 : 500 })
}

/** By the server of a framework that has one: the service that its app runs in. */
const runners = new WeakMap<Server, Host>()

/** The running service of an app, by the server that its framework made for it. */
export function runningAt(server: Server): Host | undefined {
  return runners.get(server)
}

interface Listening {
  readonly host: Host
  /** Absent: whoever answers takes no upgrades. */
  readonly server: Server | undefined
  readonly first: PlanFor | undefined
}

/** A server that does not listen itself hears no more of an upgrade than those who listen to it. */
function listenerAnswering(app: NodeListener, { host, server, first }: Listening): Answering {
  if (server) runners.set(server, host)
  const answering = { overHttp: listenerAnswers(app, host, first), byFetch: cannotFetch }
  if (!server || server.listenerCount('upgrade') === 0) return answering
  return { ...answering, upgrade: (...upgrade) => void server.emit('upgrade', ...upgrade) }
}

type FetchAnswer = (visit: Visit, request: Request, env: object) => Response | Promise<Response>

function fetchAnswers(app: FetchApp, every: PlanFor | undefined): FetchAnswer {
  const answer: FetchAnswer = (visit, request, env) => {
    try {
      const response = app.fetch(request, env as never, visit as never)
      if (response instanceof Promise) return settled(response, visit)
      return isResponse(response) ? response : failed(visit, noResponse(response))
    } catch (error) {
      return failed(visit, error)
    }
  }
  if (!every) return answer
  return async (visit, request, env) => {
    try {
      await openEvery(visit, every.in(visit.host.app))
    } catch (error) {
      return failed(visit, error)
    }
    return answer(visit, request, env)
  }
}

/** Opens what is wanted for every request. @throws an opener's own error */
export async function openEvery(visit: Visit, plan: Plan): Promise<void> {
  try {
    await visit.open(plan)
  } catch (error) {
    throw visit.ownError(error, plan)
  }
}

function settled(response: Promise<Response>, visit: Visit): Promise<Response> {
  return response.then(
    (settled) => (isResponse(settled) ? settled : failed(visit, noResponse(settled))),
    (error: unknown) => failed(visit, error),
  )
}

/** An error that says how it is to be answered is answered so; any other is a 500, and told. */
function failed(visit: Visit, error: unknown): Response {
  visit.transport.fail(error)
  const answer = answerOf(error)
  if (answer) return answer
  visit.transport.tellFailed(error)
  return new Response('Internal Server Error', { status: 500 })
}

function noResponse(found: unknown): TypeError {
  return new TypeError(`Cannot answer: the app's fetch gave ${describe(found)}, return a Response`)
}

function listenerAnswers(
  app: NodeListener,
  host: Host,
  every: PlanFor | undefined,
): Answering['overHttp'] {
  return (request, response, exchange) => {
    const visit = new Visit(host, exchange, request)
    putVisit(request, visit)
    const result = every
      ? openFirst(visit, every, [app, request, response])
      : app(request, response)
    if (!(result instanceof Promise)) return checkGiven(result, response)
    return result.then((given) => checkGiven(given, response))
  }
}

/** A factory that nobody called, or a fetch handler, looks like a listener; its requests would hang without a word. */
function checkGiven(given: unknown, response: ServerResponse): unknown {
  if (response.headersSent || response.writableEnded) return given
  if (isResponse(given)) {
    throw new TypeError(
      'Cannot answer: the listener gave a Response; export an object with fetch: export default { fetch }',
    )
  }
  if (!isMade(given)) return given
  throw new TypeError(
    `Cannot answer: the listener gave ${describe(given)}, which is an app; export the app itself: export default await createApp()`,
  )
}

async function openFirst(
  visit: Visit,
  every: PlanFor,
  [app, request, response]: [NodeListener, IncomingMessage, ServerResponse],
): Promise<unknown> {
  visit.response = response
  try {
    await openEvery(visit, every.in(visit.host.app))
  } catch (error) {
    return answerError(error, visit, response)
  }
  return app(request, response)
}

const nothingToServe: Answering = {
  overHttp(_request, response) {
    response.writeHead(404).end('This service has no app')
  },
  async byFetch() {
    return new Response('This service has no app', { status: 404 })
  },
}

async function cannotFetch(): Promise<Response> {
  throw new StewardError(
    'ERR_APP_NOT_USABLE',
    'Cannot fetch from a Node listener: it answers connections only; serve it on port 0 and fetch running.url',
  )
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { StewardError } from '../base/errors.ts'
import type { Exchange } from '../http/exchange.ts'
import type { Resources } from '../scope/resource.ts'
import type { FetchTransport } from './fetches.ts'
import { isFetchApp, type FetchApp, type NodeListener, type ServedApp } from './service.ts'
import { PlanFor, Visit, type Host } from './visit.ts'

const VISIT = Symbol('steward.visit')
const HOST: unique symbol = Symbol.for('steward.host')

/** The visit of a request that Node received; `undefined` when no service of ours did. */
export function visitOf(request: IncomingMessage): Visit | undefined {
  return (request as { [VISIT]?: Visit })[VISIT]
}

/** What handlers find a running service by where a request did not come through it: the environment of `app.request`. */
export function envOf<Running extends object>(running: Running): { [HOST]: Running } {
  return { [HOST]: running }
}

/** The running service that an environment belongs to. */
export function runningIn(env: unknown): object | undefined {
  return typeof env === 'object' && env !== null ? (env as { [HOST]?: object })[HOST] : undefined
}

/** Answers requests with an app: over HTTP, and by `fetch` where it can. */
export interface Answering {
  overHttp(request: IncomingMessage, response: ServerResponse, exchange: Exchange): unknown
  byFetch(request: Request, transport: FetchTransport): Promise<Response>
}

/** Puts an app to work in a running service. Loads the adapter for fetch apps only where there is one. */
export async function answeringWith(app: ServedApp | undefined, host: Host, every: Resources | undefined): Promise<Answering> {
  const first = every && new PlanFor(every)
  if (app === undefined) return nothingToServe
  if (!isFetchApp(app)) return { overHttp: listenerAnswers(app, host, first), byFetch: cannotFetch }
  const { getRequestListener } = await import('@hono/node-server')
  const answer = fetchAnswers(app, first)
  const listener = getRequestListener(
    (request, env) => answer(visitOf((env as { incoming: IncomingMessage }).incoming)!, request, env),
    { errorHandler: () => new Response(null, { status: 400 }) },
  )
  return {
    overHttp(request, response, exchange) {
      ;(request as { [VISIT]?: Visit })[VISIT] = new Visit(host, exchange, request)
      return listener(request, response)
    },
    byFetch: async (request, transport) => answer(new Visit(host, transport, request), request, {}),
  }
}

type FetchAnswer = (visit: Visit, request: Request, env: object) => Response | Promise<Response>

function fetchAnswers(app: FetchApp, every: PlanFor | undefined): FetchAnswer {
  const answer: FetchAnswer = (visit, request, env) => {
    try {
      const response = app.fetch(request, env as never, visit as never)
      return response instanceof Promise ? response.catch((error: unknown) => failed(visit, error)) : response
    } catch (error) {
      return failed(visit, error)
    }
  }
  if (!every) return answer
  return async (visit, request, env) => {
    try {
      await visit.open(visit.scope, every.in(visit.host.app))
    } catch (error) {
      return failed(visit, error)
    }
    return answer(visit, request, env)
  }
}

/** An error that carries its own response (an HTTPException, a BadRequest) is answered with it; any other is a 500. */
function failed(visit: Visit, error: unknown): Response {
  visit.transport.fail(error)
  const { getResponse } = (error ?? {}) as { getResponse?: () => Response }
  if (typeof getResponse === 'function') return getResponse.call(error)
  const { method, url } = visit.request
  visit.host.emit({ type: 'request.failed', method, url: url.pathname, path: [], error })
  return new Response('Internal Server Error', { status: 500 })
}

function listenerAnswers(app: NodeListener, host: Host, every: PlanFor | undefined): Answering['overHttp'] {
  return (request, response, exchange) => {
    const visit = new Visit(host, exchange, request)
    ;(request as { [VISIT]?: Visit })[VISIT] = visit
    if (!every) return app(request, response)
    const opening = visit.open(visit.scope, every.in(host.app))
    return opening ? opening.then(() => app(request, response)) : app(request, response)
  }
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

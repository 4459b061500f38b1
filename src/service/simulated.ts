import type { IncomingMessage, ServerResponse } from 'node:http'
import { openEvery, putVisit } from './answering.ts'
import type { ServiceRun } from './run.ts'
import { Visit } from './visit.ts'

/**
 * The visit of a request that a framework made up for a test, and that came through no server of ours: it is over when its
 * response is. What is opened for every request is open then. @throws an opener's own error
 */
export async function visitSimulated(
  running: ServiceRun,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<Visit> {
  const gone = new AbortController()
  const { href: url } = new URL(request.url ?? '/', 'http://localhost')
  const method = request.method ?? 'GET'
  const transport = running.fetches.begin({ method, url, signal: gone.signal })
  const visit = new Visit(running, transport, request)
  putVisit(request, visit)
  response.once('close', () => {
    if (!response.writableFinished) gone.abort()
    void transport.end(response.headersSent ? response.statusCode : undefined)
  })
  const { everyRequest, app } = running
  if (everyRequest) await openEvery(visit, app.graph.plan(everyRequest))
  return visit
}

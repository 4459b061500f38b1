import Fastify, { type FastifyInstance } from 'fastify'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import steward, { inject } from '../../src/adapters/fastify.ts'
import type { Answer, Asked, Door, Route } from './door.ts'

/** Routes in a Fastify app, whose handlers have their resources as a parameter. */
export const fastifyDoor: Door = {
  name: 'steward/fastify',
  app: (routes) =>
    withFastifyRoutes(routes, (app, url, { wanted, handle }) => {
      const handler = inject(wanted as {}, async (request, reply, values) =>
        put(reply, await handle(values, asked(request))),
      )
      app.all(url, handler)
    }),
}

/** The same, whose handlers take them of the request. */
export const fastifyHookDoor: Door = {
  name: 'steward/fastify as a preHandler',
  app: (routes) =>
    withFastifyRoutes(routes, (app, url, { wanted, handle }) => {
      const deps = inject(wanted as {})
      app.all(url, { preHandler: deps }, async (request, reply) =>
        put(reply, await handle(deps.of(request), asked(request))),
      )
    }),
}

type AddFastifyRoute = (app: FastifyInstance, url: string, route: Route) => void

export function withFastifyRoutes(
  routes: Readonly<Record<string, Route>>,
  add: AddFastifyRoute,
): FastifyInstance {
  const app = Fastify({ exposeHeadRoutes: false })
  app.setErrorHandler((error, _request, reply) => {
    const answers = error instanceof Error && 'getResponse' in error
    if (!answers) return reply.code(500).send('broken')
    const response = (error as unknown as { getResponse(): Response }).getResponse()
    return reply.code(response.status).send(response)
  })
  // The test reads the body
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  void app.register(steward).after(() => {
    for (const [url, route] of Object.entries(routes)) add(app, url, route)
  })
  return app
}

function asked({ raw }: { raw: NodeJS.ReadableStream }): Asked {
  return { text: () => text(raw) }
}

interface Replying {
  code(status: number): this
  headers(headers: object): this
}

function put(reply: Replying, { status = 200, headers = {}, body = '' }: Answer): unknown {
  reply.code(status).headers(headers)
  return typeof body === 'string' ? body : Readable.from(body)
}

import express5, {
  type ErrorRequestHandler,
  type Express,
  type Request as Req,
  type RequestHandler,
  type Response as Res,
} from 'express'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { inject } from '../../src/adapters/express.ts'
import type { Answer, Door } from './door.ts'

/** Express 4 has the same types for what the tests use. */
// @ts-expect-error -- it has none
const express4 = (await import('express-4')).default as typeof express5

/** Both that are in use. */
export const expresses: Record<string, typeof express5> = {
  'Express 5': express5,
  'Express 4': express4,
}

/** Routes in an Express app, whose handlers have their resources as a parameter. */
export function expressDoor(name: string, express: typeof express5): Door {
  return {
    name: `steward/express on ${name}`,
    app(routes) {
      const app = express()
      for (const [path, { wanted, handle }] of Object.entries(routes)) {
        const handler = inject(wanted as {}, async (request, response, values) =>
          put(response, await handle(values, { text: () => text(request) })),
        )
        app.all(path, handler)
      }
      return quiet(app)
    },
  }
}

/** The same, whose handlers take them of the request. Express 4 does not catch what a promise is rejected with. */
export function expressMiddlewareDoor(name: string, express: typeof express5): Door {
  return {
    name: `steward/express on ${name} as a middleware`,
    app(routes) {
      const app = express()
      for (const [path, { wanted, handle }] of Object.entries(routes)) {
        const deps = inject(wanted as {})
        const answer = async (request: Req, response: Res): Promise<void> =>
          put(response, await handle(deps.of(request), { text: () => text(request) }))
        const caught: RequestHandler = (request, response, next) =>
          void answer(request, response).catch(next)
        app.all(path, deps, express === express5 ? answer : caught)
      }
      return quiet(app)
    },
  }
}

/** Without Express's own error handler, which writes to the console. */
export function quiet(app: Express): Express {
  return onError(app, async (error, response) => {
    if (response.headersSent) return void response.destroy()
    const { getResponse } = error as { getResponse?: () => Response }
    if (!getResponse) return void response.status(500).type('text').send('broken')
    const given = getResponse.call(error)
    response
      .status(given.status)
      .set(Object.fromEntries(given.headers))
      .send(await given.text())
  })
}

/** An error handler is known by its four parameters. */
export function onError(app: Express, take: (error: unknown, response: Res) => unknown): Express {
  // oxlint-disable-next-line max-params -- see above
  const answer: ErrorRequestHandler = (error, _request, response, _next) =>
    void take(error, response)
  return app.use(answer)
}

async function put(
  response: Res,
  { status = 200, headers = {}, body = '' }: Answer,
): Promise<void> {
  response.status(status).set(headers)
  if (typeof body === 'string') response.send(body)
  else await pipeline(Readable.from(body), response)
}

import { Hono } from 'hono'
import type { HTTPException } from 'hono/http-exception'
import { inject } from '../../src/adapters/hono.ts'
import type { Answer, Door } from './door.ts'

/** Routes in a Hono app. */
export const honoDoor: Door = {
  name: 'steward/hono',
  app(routes) {
    const app = quiet()
    for (const [path, { wanted, handle }] of Object.entries(routes)) {
      app.all(path, inject(wanted as {}), async (c) =>
        responseTo(await handle(c.var, { text: () => c.req.text() })),
      )
    }
    return app
  },
}

/** Without Hono's own error handler, which writes to the console. */
export function quiet<Env extends object = {}>(): Hono<Env> {
  const app = new Hono<Env>()
  return app.onError((error, c) =>
    'getResponse' in error
      ? (error as HTTPException).getResponse()
      : c.text('Internal Server Error', 500),
  )
}

function responseTo({ status = 200, headers = {}, body = '' }: Answer): Response {
  const content =
    typeof body === 'string' ? body : ReadableStream.from(body).pipeThrough(new TextEncoderStream())
  return new Response(content, { status, headers })
}

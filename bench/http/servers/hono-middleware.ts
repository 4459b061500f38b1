import { serve } from '@hono/node-server'
import { Hono } from 'hono'

/** Hono on its own adapter; one middleware that waits for the handler, as any that injects something does. */
export function listen(): Promise<number> {
  const app = new Hono().get(
    '/',
    async (_, next) => {
      await next()
    },
    (c) => c.text('hello world'),
  )
  return new Promise((resolve) => {
    serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port))
  })
}

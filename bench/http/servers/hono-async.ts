import { serve } from '@hono/node-server'
import { Hono } from 'hono'

/** Hono on its own adapter, with an async handler: whatever waits for something has one. */
export function listen(): Promise<number> {
  const app = new Hono().get('/', async (c) => c.text('hello world'))
  return new Promise((resolve) => {
    serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port))
  })
}

import { serve } from '@hono/node-server'
import { honoApp } from './hono-app.ts'

/** Hono on its own adapter. */
export function listen(): Promise<number> {
  return new Promise((resolve) => {
    serve({ fetch: honoApp().fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port))
  })
}

import { Hono } from 'hono'

/** The app that both Hono's own adapter and steward serve. */
export function honoApp(): Hono {
  return new Hono().get('/', (c) => c.text('hello world'))
}

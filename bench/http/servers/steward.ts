import { serve, service } from '../../../dist/index.js'
import { honoApp } from './hono-app.ts'

/** The same Hono app through steward, with nothing injected. */
export async function listen(): Promise<number> {
  const running = await serve(service({ app: honoApp() }), {
    port: 0,
    host: '127.0.0.1',
    signals: false,
  })
  return Number(new URL(running.url).port)
}

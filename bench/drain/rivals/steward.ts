import { serve, service } from '../../../dist/index.js'
import { app } from '../node-server.ts'
import type { Place } from '../place.ts'

/** docs/reference/options.md */
export async function listen({ fd, tls, http2 = false }: Place): Promise<number> {
  const where = fd === undefined ? { port: 0, host: '127.0.0.1' } : { fd }
  const running = await serve(service({ app, gracefulTimeout: '10s' }), {
    ...where,
    ...(tls && { tls: tls.files }),
    http2,
  })
  return Number(new URL(running.url).port)
}

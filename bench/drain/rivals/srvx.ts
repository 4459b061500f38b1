import { Readable } from 'node:stream'
import { serve } from 'srvx/node'
import { TIMEOUT, type Place } from '../place.ts'
import { answer } from '../work.ts'

/** https://srvx.h3.dev/guide/options#gracefulshutdown: on by default, here with the same timeout as everybody's. */
export async function listen({ fd, tls }: Place): Promise<number> {
  const server = serve({
    fetch: respond,
    silent: true,
    gracefulShutdown: { gracefulTimeout: TIMEOUT / 1_000 },
    // It hands `node` on to Node, `fd` too, of which its types do not know
    ...(fd === undefined ? { port: 0, hostname: '127.0.0.1' } : { node: { fd } as object }),
    ...(tls ? { tls } : {}),
  })
  await server.ready()
  return Number(new URL(server.url ?? '').port)
}

async function respond(request: Request): Promise<Response> {
  if (request.method === 'POST') await request.arrayBuffer()
  const body = await answer(request.url)
  if (!Buffer.isBuffer(body)) return new Response(Readable.toWeb(body) as ReadableStream)
  return new Response(new Uint8Array(body), { headers: { 'Content-Length': `${body.length}` } })
}

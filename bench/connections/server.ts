/**
 * A server with idle connections, in a process of its own: `node --expose-gc server.ts bare|tracked|steward`. Tells its port, and
 * how large its heap is when asked; SIGTERM stops it.
 */
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { drain, prepare } from '../../dist/http/index.js'
import { serve, service } from '../../dist/index.js'

const answer: RequestListener = (_, response) => void response.end('hello world')

process.on('message', () => {
  for (let times = 0; times < 4; times++) globalThis.gc!()
  process.send?.({ heap: process.memoryUsage().heapUsed })
})
let isStopping = false
process.once('SIGTERM', () => {
  isStopping = true
  process.disconnect()
})
process.on('disconnect', () => {
  if (!isStopping) process.exit(1)
})

const listen: Record<string, () => Promise<number>> = {
  bare: () => own(false),
  tracked: () => own(true),
  async steward() {
    const running = await serve(service({ app: answer }), { port: 0, host: '127.0.0.1' })
    return Number(new URL(running.url).port)
  },
}

process.send?.({ port: await listen[process.argv[2]!]!() })

async function own(isTracked: boolean): Promise<number> {
  const server = createServer({ keepAliveTimeout: 75_000 }, answer)
  if (isTracked) prepare(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.once('SIGTERM', () => {
    if (isTracked) void drain(server)
    else server.close()
  })
  return (server.address() as AddressInfo).port
}

import { fastify } from 'fastify'
import type { AddressInfo } from 'node:net'

export async function listen(): Promise<number> {
  const app = fastify()
  app.get('/', (_, reply) => {
    reply.type('text/plain').send('hello world')
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}

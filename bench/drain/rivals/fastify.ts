import closeWithGrace from 'close-with-grace'
import { fastify, type FastifyInstance, type FastifyListenOptions } from 'fastify'
import type { AddressInfo } from 'node:net'
import { TIMEOUT, type Place } from '../place.ts'
import { answer } from '../work.ts'

/** https://github.com/fastify/close-with-grace#example-with-fastify */
export async function listen({ fd, tls }: Place): Promise<number> {
  const app = (tls ? fastify({ https: tls }) : fastify()) as FastifyInstance
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.all('/*', async (request, reply) => reply.send(await answer(request.url)))
  closeWithGrace({ delay: TIMEOUT }, () => app.close())
  const where = fd === undefined ? { port: 0 } : { fd }
  // Fastify hands what it does not know on to Node, `fd` too
  await app.listen({ ...where, host: '127.0.0.1' } as FastifyListenOptions)
  return (app.server.address() as AddressInfo).port
}

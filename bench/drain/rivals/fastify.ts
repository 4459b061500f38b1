import closeWithGrace from 'close-with-grace'
import { fastify, type FastifyInstance, type FastifyListenOptions } from 'fastify'
import type { AddressInfo } from 'node:net'
import { TIMEOUT, type Place } from '../place.ts'
import { answer } from '../work.ts'

/** https://github.com/fastify/close-with-grace#example-with-fastify */
export async function listen(place: Place): Promise<number> {
  const { fd } = place
  const app = create(place)
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.all('/*', async (request, reply) => reply.send(await answer(request.url)))
  closeWithGrace({ delay: TIMEOUT }, () => app.close())
  const where = fd === undefined ? { port: 0 } : { fd }
  // Fastify hands what it does not know on to Node, `fd` too
  await app.listen({ ...where, host: '127.0.0.1' } as FastifyListenOptions)
  return (app.server.address() as AddressInfo).port
}

function create({ tls, http2 }: Place): FastifyInstance {
  if (!tls) return fastify()
  const https = { ...tls, allowHTTP1: true }
  return (http2 ? fastify({ http2, https }) : fastify({ https })) as unknown as FastifyInstance
}

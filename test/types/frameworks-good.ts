// Programs with the doors of Fastify, Express, Koa and Nest that must compile, on every compiler of test/types.test.ts.
import Router from '@koa/router'
import { expectTypeOf } from 'expect-type'
import express from 'express'
import type { Request, Response } from 'express'
import Fastify, { type FastifyReply, type FastifyRequest, type FastifyTypeProvider } from 'fastify'
import Koa, { type ParameterizedContext } from 'koa'
import { NestFactory } from '@nestjs/core'
import { perApp, perHandler, perRequest, request, serve, service } from 'steward'
import { inject as injectExpress, res } from 'steward/express'
import steward, { inject as injectFastify, reply } from 'steward/fastify'
import { ctx, inject as injectKoa } from 'steward/koa'
import { inject as injectNest } from 'steward/nest'
import { response } from 'steward/node'

class Pool {
  query(): string[] {
    return []
  }
}

export const pool = perApp(() => new Pool())
export const user = perRequest({ pool, request }, async ({ request }) => ({ id: request.ip }))
export const tx = perHandler({ pool }, async function* ({ pool }) {
  yield { pool, commit: true }
})
export const replied = perRequest({ reply }, ({ reply }) => reply.statusCode)
export const resed = perRequest({ res }, ({ res }) => res.locals)
export const stamp = perRequest({ response }, ({ response }) => response.statusCode)
export const path = perRequest({ ctx }, ({ ctx }) => ctx.path)

/** What a type provider makes of a schema: here, what the schema says it is. */
interface Provider extends FastifyTypeProvider {
  validator: this['schema'] extends { is: infer Is } ? Is : unknown
}

// Fastify: the handler's own types, a route's generics, what a type provider makes of its schema
const fastify = Fastify().withTypeProvider<Provider>()
await fastify.register(steward)
fastify.get(
  '/',
  injectFastify({ pool, user, tx, replied, stamp }, async (request, reply, values) => {
    expectTypeOf(values.pool).toEqualTypeOf<Pool>()
    expectTypeOf(values.user).toEqualTypeOf<{ id: string }>()
    expectTypeOf(values.replied).toEqualTypeOf<number>()
    expectTypeOf(request.url).toEqualTypeOf<string>()
    return reply.code(201).send(values.tx.pool.query())
  }),
)
fastify.get<{ Params: { id: string }; Querystring: { page: number } }>(
  '/users/:id',
  injectFastify({ pool }, async function (request, _reply, { pool }) {
    expectTypeOf(request.params).toEqualTypeOf<{ id: string }>()
    expectTypeOf(request.query).toEqualTypeOf<{ page: number }>()
    expectTypeOf(this.server.listening).toEqualTypeOf<boolean>()
    return pool.query()
  }),
)
fastify.post(
  '/orders',
  { schema: { body: { is: { item: 'tea' } } } },
  injectFastify({ tx }, async (request, _reply, { tx }) => {
    expectTypeOf(request.body.item).toExtend<string>()
    return tx.commit
  }),
)
fastify.route({
  method: 'PUT',
  url: '/orders',
  schema: { body: { is: { item: 'tea' } } },
  handler: injectFastify({ tx }, (request, reply) => {
    expectTypeOf(request.body.item).toExtend<string>()
    reply.send('done')
  }),
})
const apart = injectFastify(
  { pool },
  async (request: FastifyRequest<{ Params: { id: string } }>, _reply: FastifyReply, { pool }) =>
    pool.query().concat(request.params.id),
)
Fastify().get<{ Params: { id: string } }>('/apart/:id', apart)

// … and as a preHandler, of a route and of a whole plugin
const fastifyDeps = injectFastify({ pool, user, tx })
fastify.addHook('preHandler', fastifyDeps)
fastify.get<{ Params: { id: string } }>('/:id', { preHandler: fastifyDeps }, async (request) => {
  expectTypeOf(fastifyDeps.of(request).user).toEqualTypeOf<{ id: string }>()
  return request.params.id
})
fastify.get('/several', { preHandler: [fastifyDeps] }, async (request) => {
  return fastifyDeps.of(request).pool.query()
})

// Express: the parameters of the path, and bodies where somebody says what they are
const app = express()
app.get(
  '/users/:id',
  injectExpress({ pool, user, tx, resed, stamp }, (request, response, values) => {
    expectTypeOf(request.params.id).toEqualTypeOf<string>()
    expectTypeOf(values.user).toEqualTypeOf<{ id: string }>()
    response.status(201).json(values.tx.pool.query())
  }),
)
app.post<{}, { ok: boolean }, { item: string }>(
  '/orders',
  injectExpress({ pool }, async (request, response) => {
    expectTypeOf(request.body).toEqualTypeOf<{ item: string }>()
    response.json({ ok: true })
  }),
)
const handler = injectExpress({ pool }, (request: Request<{ id: string }>, response: Response) => {
  response.send(request.params.id)
})
app.get('/apart/:id', handler)
const expressDeps = injectExpress({ pool, user })
app.use(expressDeps)
const router = express.Router().use(expressDeps)
router.get('/:id', expressDeps, (request, response) => {
  expectTypeOf(expressDeps.of(request).pool).toEqualTypeOf<Pool>()
  expectTypeOf(request.params.id).toEqualTypeOf<string>()
  response.end()
})

// Koa, with its router
const koa = new Koa()
koa.use(
  injectKoa({ pool, user, tx, path, stamp }, async (ctx, values) => {
    expectTypeOf(values.path).toEqualTypeOf<string>()
    ctx.body = values.tx.pool.query()
  }),
)
const koaDeps = injectKoa({ user })
const routes = new Router().use(koaDeps)
routes.get('/:id', koaDeps, async (ctx) => {
  expectTypeOf(koaDeps.of(ctx).user).toEqualTypeOf<{ id: string }>()
  ctx.body = ctx.params['id']
})
routes.get(
  '/apart',
  injectKoa({ pool }, (ctx: ParameterizedContext<{ name: string }>, { pool }) => {
    ctx.body = pool.query().concat(ctx.state.name)
  }),
)

// Nest
const nestDeps = injectNest({ pool, user, tx, stamp })
expectTypeOf(nestDeps.of({}).user).toEqualTypeOf<{ id: string }>()
class AppModule {}
const nest = await NestFactory.create(AppModule)
nest.useGlobalInterceptors(nestDeps)

// Every one of them is an app, as it is and by a resource
for (const one of [Fastify(), app, koa, nest]) service({ app: one })
await serve(fastify)
service({ app: fastify })
service({ app: perApp({ pool }, ({ pool }) => Fastify({ logger: pool.query().length > 0 })) })
service({ app: perApp(async () => Fastify()) })
service({ app: perApp(() => express()) })
service({ app: perApp(() => new Koa()) })
service({ app: perApp(() => NestFactory.create(AppModule)) })

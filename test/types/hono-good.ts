// Programs with steward/hono and steward/node that must compile, on every compiler of test/types.test.ts.
import { expectTypeOf } from 'expect-type'
import { Hono, type Context } from 'hono'
import { hc } from 'hono/client'
import { createFactory } from 'hono/factory'
import { testClient } from 'hono/testing'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { perApp, perHandler, perRequest, request, run, service, signal, start } from 'steward'
import { context, inject, socket, websocket, type Injected } from 'steward/hono'
import { inject as injectIntoNode, response } from 'steward/node'
import { z } from 'zod'

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
export const page = perRequest({ context }, ({ context }) => context.req.path)
export const stamp = perRequest({ response }, ({ response }) => response.statusCode)

// Values are typed, path parameters stay
new Hono().get('/users/:id/:tab?', inject({ pool, user, tx }), (c) => {
  expectTypeOf(c.var.pool).toEqualTypeOf<Pool>()
  expectTypeOf(c.var.user).toEqualTypeOf<{ id: string }>()
  expectTypeOf(c.get('tx')).toEqualTypeOf<{ pool: Pool; commit: boolean }>()
  expectTypeOf(c.req.param('id')).toEqualTypeOf<string>()
  expectTypeOf(c.req.param('tab')).toEqualTypeOf<string | undefined>()
  return c.text('')
})

// Several of them, and what an app's own middlewares set
const app = new Hono<{ Variables: { mark: number } }>()
  .use(inject({ pool }))
  .get('/orders/:id', inject({ user }), inject({ signal, run, page }), async (c) => {
    expectTypeOf(c.var.mark).toEqualTypeOf<number>()
    expectTypeOf(c.var.user.id).toEqualTypeOf<string>()
    expectTypeOf(c.var.signal).toEqualTypeOf<AbortSignal>()
    const rows = await c.var.run({ tx }, ({ tx }) => tx.pool.query())
    return c.json({ id: c.req.param('id'), rows }, 200)
  })
  .post('/orders', inject({ tx }), (c) => c.json({ created: c.var.tx.commit }, 201))

// RPC types stay whole
const client = hc<typeof app>('http://localhost')
const answer = await client.orders[':id'].$get({ param: { id: '7' } })
expectTypeOf(await answer.json()).toEqualTypeOf<{ id: string; rows: string[] }>()
const created = await client.orders.$post()
expectTypeOf(created.status).toEqualTypeOf<201>()

// Sub-apps: what is injected around them
const wanted = { pool, user }
const sub = new Hono<Injected<typeof wanted>>().get('/:name', (c) => {
  expectTypeOf(c.var.pool).toEqualTypeOf<Pool>()
  return c.json({ name: c.req.param('name'), id: c.var.user.id })
})
const outer = new Hono().use('/sub/*', inject(wanted)).route('/sub', sub)

// A context that is handed on, and a factory
const nameOf = (c: Context<Injected<typeof wanted>>): string => c.var.user.id
new Hono().get('/', inject(wanted), (c) => c.text(nameOf(c)))
createFactory<Injected<typeof wanted>>().createHandlers((c) => c.text(c.var.user.id))

// A service, and how tests ask it
await using running = await start(service({ app: outer, everyRequest: { user } }))
const asked = await testClient(outer, running.env).sub[':name'].$get({ param: { name: 'x' } })
expectTypeOf(await asked.json()).toEqualTypeOf<{ name: string; id: string }>()
await app.request('/orders', { method: 'POST' }, running.env)

// A Node listener
const listener = injectIntoNode({ pool, user, tx, stamp }, (request, response, values) => {
  expectTypeOf(request).toEqualTypeOf<IncomingMessage>()
  expectTypeOf(response).toEqualTypeOf<ServerResponse>()
  expectTypeOf(values.user.id).toEqualTypeOf<string>()
  expectTypeOf(values.stamp).toEqualTypeOf<number>()
  response.end()
})
service({ app: listener })

// What it does once: with the listed resources, or with those that it names itself
service({
  resources: { pool },
  prepare: ({ pool }, { signal }) => (signal.aborted ? undefined : pool),
})
service({ resources: { pool }, prepare: [({ pool }) => void pool, async () => {}] })
service({ prepare: perApp({ pool }, ({ pool }) => void pool) })
// WebSockets: values and messages are typed, paths and RPC types stay
export const seat = perRequest({ socket }, ({ socket }) => ({ say: () => socket.send('') }))
const chat = new Hono()
  .get(
    '/chat/:room',
    websocket({ pool, user, run, seat }, async (socket, { pool, user, run }, c) => {
      expectTypeOf(pool).toEqualTypeOf<Pool>()
      expectTypeOf(user.id).toEqualTypeOf<string>()
      expectTypeOf(c.req.param('room')).toEqualTypeOf<string | undefined>()
      for await (const message of socket) {
        expectTypeOf(message).toEqualTypeOf<string | Uint8Array>()
        await run({ tx }, ({ tx }) => tx.pool.query())
        expectTypeOf(await socket.send(message)).toEqualTypeOf<boolean>()
      }
    }),
  )
  .get('/news/:topic', inject({ socket, pool, seat }), async (c) => {
    expectTypeOf(c.req.param('topic')).toEqualTypeOf<string>()
    for await (const { name } of c.var.socket.json(z.object({ name: z.string() }))) {
      expectTypeOf(name).toEqualTypeOf<string>()
    }
    return c.var.socket.ended()
  })
  .get(
    '/quiet/:topic',
    inject(
      { seat, pool },
      { origins: 'any', protocols: ['v1'], maxPayload: 1_000, pingEvery: '10s' },
    ),
    inject({ socket }, { compression: { threshold: 500 } }),
    async (c) => {
      expectTypeOf(c.req.param('topic')).toEqualTypeOf<string>()
      expectTypeOf(c.var.pool).toEqualTypeOf<Pool>()
      return c.var.socket.ended()
    },
  )
  .get('/plain', (c) => c.json({ plain: true }))
const speaker = hc<typeof chat>('http://localhost')
expectTypeOf(speaker.chat[':room'].$ws({ param: { room: 'red' } })).toEqualTypeOf<WebSocket>()
expectTypeOf(speaker.news[':topic'].$ws({ param: { topic: 'a' } })).toEqualTypeOf<WebSocket>()
expectTypeOf(speaker.quiet[':topic'].$ws({ param: { topic: 'a' } })).toEqualTypeOf<WebSocket>()

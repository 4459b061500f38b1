/**
 * Serves requests with injected resources over connections, and prints by how many bytes the heap has grown and how many
 * of what was opened for a request is still there. Needs --expose-gc.
 */
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import http from 'node:http'
import { setImmediate } from 'node:timers/promises'
import { inject as injectExpress } from '../../src/adapters/express.ts'
import steward, { inject as injectFastify } from '../../src/adapters/fastify.ts'
import { inject } from '../../src/adapters/hono.ts'
import { inject as injectKoa } from '../../src/adapters/koa.ts'
import { inject as injectNest } from '../../src/adapters/nest.ts'
import { inject as injectIntoNode } from '../../src/adapters/node.ts'
import { signal } from '../../src/scope/builtin.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { request } from '../../src/service/request.ts'
import { serve } from '../../src/service/serve.ts'
import { service, type NestApp, type ServedApp } from '../../src/service/service.ts'
import { nestApp } from '../helpers/nest-door.ts'

const { gc } = globalThis as unknown as { gc: () => void }
const [door, count = '10000'] = process.argv.slice(2)

/** Every hundredth value that was opened for a request. */
const refs: WeakRef<object>[] = []
let opened = 0
let closed = 0

const pool = perApp(() => ({ name: 'pool' }))
const user = perRequest({ pool, request }, ({ request }) => ({ path: request.url.pathname }))
const tx = perRequest({ pool, user, signal }, async function* ({ signal }) {
  const value = { rows: Array.from({ length: 100 }), signal }
  if (opened++ % 100 === 0) refs.push(new WeakRef(value))
  yield value
  closed++
})
const turn = perHandler({ tx }, function* ({ tx }) {
  yield { tx }
})
const wanted = { user, tx, turn }

const apps: Record<string, () => ServedApp | Promise<NestApp>> = {
  hono: () => new Hono().get('*', inject(wanted), (c) => c.text(c.var.user.path)),
  node: () => injectIntoNode(wanted, (_, response, { user }) => response.end(user.path)),
  fastify() {
    const app = Fastify()
    void app.register(steward).after(() => {
      app.get(
        '/path',
        injectFastify(wanted, async (_request, _reply, { user }) => user.path),
      )
    })
    return app
  },
  'fastify-hook'() {
    const app = Fastify()
    const deps = injectFastify(wanted)
    void app.register(steward).after(() => {
      app.get('/path', { preHandler: deps }, async (request) => deps.of(request).user.path)
    })
    return app
  },
  express: () =>
    express().get(
      '/path',
      injectExpress(wanted, (_request, response, { user }) => response.send(user.path)),
    ),
  'express-middleware'() {
    const deps = injectExpress(wanted)
    return express().get('/path', deps, (request, response) => {
      response.send(deps.of(request).user.path)
    })
  },
  koa: () =>
    new Koa().use(
      injectKoa(wanted, (ctx, { user }) => {
        ctx.body = user.path
      }),
    ),
  nest() {
    const deps = injectNest(wanted)
    const handle = (given: object): string => deps.of(given).user.path
    return nestApp('Express', [{ path: '/path', interceptors: [deps], handle }])
  },
}

const made = { app: apps[door!]!() }
// A Fastify app is a promise of its own start, too
const app = made.app instanceof Promise ? await made.app : made.app
const running = await serve(service({ app }), { port: 0, signals: false })
const agent = new http.Agent({ keepAlive: true, maxSockets: 10 })
await ask(2_000)
const before = await heap()
refs.length = 0
await ask(Number(count))
const grown = (await heap()) - before
const left = refs.filter((ref) => ref.deref() !== undefined).length
console.log(JSON.stringify({ grown, left, looked: refs.length, open: opened - closed }))
agent.destroy()
await running.stop()

async function ask(requests: number): Promise<void> {
  for (let n = 0; n < requests; n += 100) await Promise.all(Array.from({ length: 100 }, askOnce))
}

function askOnce(): Promise<void> {
  return new Promise((resolve, reject) => {
    const get = http.get(`${running.url}/path`, { agent }, (response) => {
      response.resume().on('end', resolve)
    })
    get.on('error', reject)
  })
}

async function heap(): Promise<number> {
  for (let turn = 0; turn < 5; turn++) {
    await setImmediate()
    gc()
  }
  return process.memoryUsage().heapUsed
}

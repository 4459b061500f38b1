import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Hono } from 'hono'
import { testClient } from 'hono/testing'
import { inject } from '../../src/adapters/hono.ts'
import { signal } from '../../src/scope/builtin.ts'
import { perApp } from '../../src/scope/resource.ts'
import { start } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { listening, started, watchedHandler, watchedRequest } from '../helpers/door.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { Gate } from '../helpers/gate.ts'
import { honoDoor, quiet } from '../helpers/hono-door.ts'
import { addBuiltinTests } from '../helpers/request-suite.ts'
import { errorOf } from '../helpers/traced.ts'
import { isOurs, type Way } from '../helpers/way.ts'
import { within } from '../helpers/within.ts'

/** By Hono's own `app.request`, with the environment of a running service. */
const byRequest: Way = {
  name: 'steward/hono by app.request',
  start(routes, more) {
    const app = honoDoor.app(routes) as Hono
    // What is thrown and no Error comes out of Hono as it is
    const failed = (): Response => new Response(null, { status: 500 })
    const ask = async (env: object, asked: Request): Promise<Response> =>
      app.request(asked, undefined, env)
    return started(app, (running, asked) => ask(running.env, asked).catch(failed), more)
  },
}

addScopeTests(byRequest)
addBuiltinTests(byRequest)

function endless(): ReadableStream {
  return ReadableStream.from(
    (async function* () {
      for (;;) yield new Uint8Array(10_000)
    })(),
  )
}

describe('steward/hono, by app.request and testClient', () => {
  function shop() {
    const { resource: unit, closed, endings } = watchedRequest()
    const { resource: tx, closed: committed } = watchedHandler()
    const app = quiet()
      .get('/unit/:id', inject({ unit }), (c) =>
        c.json({ id: c.req.param('id'), unit: c.var.unit.id }),
      )
      .post('/orders', inject({ tx }), (c) => c.json({ tx: c.var.tx.id }, 201))
      .get('/broken', inject({ unit }), () => {
        throw new Error('broken')
      })
    return { app, unit, closed, committed, endings }
  }

  it('knows a service by testClient, with all types', async () => {
    const { app, closed, committed } = shop()
    await using running = await start(service({ app }))
    const client = testClient(app, running.env)
    const response = await client.unit[':id'].$get({ param: { id: '7' } })
    const body: { id: string; unit: number } = await response.json()
    assert.deepEqual(body, { id: '7', unit: 1 })
    await within(2_000, closed.reached(1), 'the close')
    const created = await client.orders.$post()
    assert.deepEqual([created.status, committed.count], [201, 1])
  })

  it('ends a request whose answer nobody reads, when it is short', async () => {
    const { app, closed } = shop()
    await using running = await start(service({ app }))
    assert.equal((await app.request('/unit/1', {}, running.env)).status, 200)
    assert.equal((await running.fetch('/unit/1')).status, 200)
    await within(2_000, closed.reached(2), 'both closes')
  })

  it('R12 shares one request scope between all middlewares and the handler', async () => {
    const { resource: unit, opened, closed } = watchedRequest()
    const app = quiet()
      .use(inject({ unit }))
      .get('/', inject({ unit }), (c) => c.text(`unit ${c.var.unit.id}`))
    await using running = await start(service({ app }))
    assert.equal(await (await app.request('/', {}, running.env)).text(), 'unit 1')
    await running.stop()
    assert.deepEqual([opened.count, closed.count], [1, 1])
  })

  it('ends a request by HEAD, whose answer has no body, however long it would be', async () => {
    const { app, unit, closed } = shop()
    app.get('/long', inject({ unit }), (c) => c.text('x'.repeat(1_000_000)))
    app.get('/endless', inject({ unit }), () => new Response(endless()))
    await using running = await start(service({ app }))
    for (const path of ['/unit/1', '/long', '/endless']) {
      assert.equal((await app.request(path, { method: 'HEAD' }, running.env)).status, 200)
    }
    assert.equal((await running.fetch('/unit/1', { method: 'HEAD' })).status, 200)
    await within(2_000, closed.reached(4), 'all closes')
  })

  it('ends a request whose long answer is cancelled', async () => {
    const { resource: unit, closed } = watchedRequest()
    const app = quiet().get('/', inject({ unit }), () => new Response(endless()))
    await using running = await start(service({ app }))
    for (const response of [await running.fetch('/'), await app.request('/', {}, running.env)]) {
      const reader = response.body!.getReader()
      await reader.read()
      await reader.cancel()
    }
    assert.equal(closed.count, 2)
  })

  it('S3 hears of a caller that aborts', async () => {
    const { resource: unit, endings } = watchedRequest()
    const [inHandler, aborted] = [new Gate(), new Gate()]
    const app = quiet().get('/', inject({ unit, signal }), async (c) => {
      c.var.signal.addEventListener('abort', () => aborted.open())
      inHandler.open()
      await aborted.opened
      return c.text('to nobody')
    })
    await using running = await start(service({ app }))
    const caller = new AbortController()
    const answer = running.fetch('/', { signal: caller.signal })
    await within(2_000, inHandler.opened, 'the handler')
    assert.equal(endings.length, 0)
    caller.abort()
    await within(2_000, answer, 'the answer')
    await running.stop()
    assert.equal(endings.length, 1)
  })

  it('lets a handler ask its own app, with its own environment', async () => {
    const { resource: unit, closed } = watchedRequest()
    const app = quiet()
    app.get('/inner', inject({ unit }), (c) => c.text(`inner ${c.var.unit.id}`))
    app.get('/', inject({ unit }), async (c) => {
      const inner = await app.request('/inner', {}, c.env)
      return c.text(`${await inner.text()}, outer ${c.var.unit.id}`)
    })
    const asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'inner 2, outer 1')
    assert.equal(await (await asking.running.fetch('/')).text(), 'inner 4, outer 3')
    await asking[Symbol.asyncDispose]()
    assert.equal(closed.count, 4)
  })

  it('keeps two services apart that serve the same app', async () => {
    let pools = 0
    const pool = perApp(() => ++pools)
    const app = quiet().get('/', inject({ pool }), (c) => c.text(`${c.var.pool}`))
    await using one = await start(service({ app }))
    await using two = await start(service({ app }))
    const ask = async (env: object): Promise<string> => (await app.request('/', {}, env)).text()
    assert.deepEqual([await ask(one.env), await ask(two.env), await ask(one.env)], ['1', '2', '1'])
  })

  it('refuses a request when the service has stopped', async () => {
    const { app } = shop()
    const thrown: unknown[] = []
    app.onError((error, c) => {
      thrown.push(error)
      return c.text('', 500)
    })
    const running = await start(service({ app }))
    await running.stop()
    assert.ok(isOurs('ERR_STOPPING', /stopping/)(await errorOf(running.fetch('/unit/1'))))
    await app.request('/unit/1', {}, running.env)
    assert.ok(thrown.some(isOurs('ERR_SCOPE_CLOSED', /the app scope is closed/)))
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { streamSSE } from 'hono/streaming'
import { testClient } from 'hono/testing'
import { context, inject, type Injected } from '../../src/adapters/hono.ts'
import { signal } from '../../src/scope/builtin.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { param, request } from '../../src/service/request.ts'
import { start } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import {
  listening,
  started,
  watchedHandler,
  watchedRequest,
  type Answer,
  type Door,
} from '../helpers/door.ts'
import {
  addClientTests,
  addEveryRequestTests,
  addScopeTests,
  byFetch,
  isOurs,
  overHttp,
  pageSchema,
  type Way,
} from '../helpers/door-suite.ts'
import { settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { errorOf } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'

const door: Door = {
  name: 'steward/hono',
  app(routes) {
    const app = quiet()
    for (const [path, { wanted, handle }] of Object.entries(routes)) {
      app.all(path, inject(wanted as {}), async (c) =>
        responseTo(await handle(c.var, { text: () => c.req.text() })),
      )
    }
    return app
  },
}

/** Without Hono's own error handler, which writes to the console. */
function quiet<Env extends object = {}>(): Hono<Env> {
  const app = new Hono<Env>()
  return app.onError((error, c) =>
    'getResponse' in error
      ? (error as HTTPException).getResponse()
      : c.text('Internal Server Error', 500),
  )
}

function responseTo({ status = 200, headers = {}, body = '' }: Answer): Response {
  const content =
    typeof body === 'string'
      ? body
      : ReadableStream.from(body).pipeThrough(new TextEncoderStream())
  return new Response(content, { status, headers })
}

/** By Hono's own `app.request`, with the environment of a running service. */
const byRequest: Way = {
  name: 'steward/hono by app.request',
  start(routes, more) {
    const app = door.app(routes) as Hono
    // What is thrown and no Error comes out of Hono as it is
    const failed = (): Response => new Response(null, { status: 500 })
    const ask = async (env: object, asked: Request): Promise<Response> =>
      app.request(asked, undefined, env)
    return started(app, (running, asked) => ask(running.env, asked).catch(failed), more)
  },
}

addScopeTests(overHttp(door))
addScopeTests(byFetch(door))
addScopeTests(byRequest)
addEveryRequestTests(overHttp(door))
addEveryRequestTests(byFetch(door))
addClientTests(door)

const failing = perHandler(async function* () {
  yield 'transaction'
  throw new Error('the commit failed')
})

describe('steward/hono, R11', () => {
  it('R11 goes by `c.error`: what a custom onError answers well is not ok', async () => {
    const { resource: tx, endings } = watchedHandler()
    const broken = new Error('broken')
    const app = new Hono()
      .get('/', inject({ tx }), () => {
        throw broken
      })
      .onError((_, c) => c.text('never mind', 200))
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'never mind')
    assert.deepEqual(endings, [{ ok: false, status: 200, error: broken }])
  })

  it('R11 goes by `c.error` in a sub-app with an error handler of its own', async () => {
    const { resource: tx, opened, endings } = watchedHandler()
    const sub = new Hono()
      .get('/', inject({ tx }), () => {
        throw new HTTPException(418)
      })
      .onError((_, c) => c.text('of the sub-app', 200))
    await using asking = await listening(quiet().route('/sub', sub))
    assert.equal(opened.count, 0)
    assert.equal((await asking.ask('GET /sub')).body, 'of the sub-app')
    assert.equal(endings[0]!.ok, false)
    assert.ok(endings[0]!.error instanceof HTTPException)
  })

  it('R11 takes the commit back after an HTTPException, which stays one', async () => {
    const { resource: tx, endings } = watchedHandler()
    const app = quiet().get('/', inject({ tx }), () => {
      throw new HTTPException(403, { message: 'not yours' })
    })
    await using asking = await listening(app)
    const { status, body } = await asking.ask('GET /')
    assert.deepEqual([status, body], [403, 'not yours'])
    assert.equal(endings[0]!.ok, false)
  })

  it('R11 gives a failing commit to the error handler, as any error of the handler', async () => {
    const app = new Hono()
      .post('/', inject({ failing }), (c) => {
        c.header('Location', '/orders/1')
        c.status(201)
        return c.json({ created: true })
      })
      .onError((error, c) => {
        c.header('x-reason', error.message)
        return c.json({ error: 'try again' })
      })
    await using asking = await listening(app)
    const { status, headers, body } = await asking.ask('POST /')
    assert.deepEqual([status, JSON.parse(body)], [500, { error: 'try again' }])
    assert.equal(headers['x-reason'], 'the commit failed')
    assert.equal(headers['location'], undefined)
  })

  it('R11 keeps on the 500 of a failing commit what middlewares around it have set', async () => {
    const app = quiet()
      .use(async (c, next) => {
        c.res.headers.set('access-control-allow-origin', '*')
        await next()
      })
      .post('/', inject({ failing }), (c) => c.body('created', 201, { 'content-length': '7' }))
    await using asking = await listening(app)
    const { status, headers, body } = await asking.ask('POST /')
    assert.deepEqual([status, body], [500, 'Internal Server Error'])
    assert.equal(headers['access-control-allow-origin'], '*')
  })

  it('R11 does not commit for a handler that forgot to answer', async () => {
    const { resource: tx, endings } = watchedHandler()
    const app = quiet().get('/', inject({ tx }), (async () => {}) as never)
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).status, 500)
    assert.equal(endings[0]!.ok, false)
  })

  it('R12 shares one handler scope, which the outermost inject ends', async () => {
    const { resource: tx, opened, endings } = watchedHandler()
    const { resource: other, endings: others } = watchedHandler()
    const app = quiet()
      .use(inject({ tx }))
      .get('/', inject({ other, tx }), (c) => c.text(`tx ${c.var.tx.id}`))
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'tx 1')
    assert.deepEqual([opened.count, endings.length, others.length], [1, 1, 1])
  })
})

describe('steward/hono', () => {
  it('R12 shares one request scope between all middlewares and the handler', async () => {
    const { resource: unit, opened, closed } = watchedRequest()
    const app = quiet()
      .use(inject({ unit }))
      .use(inject({ again: unit }))
      .get('/', inject({ unit }), (c) => c.text(`${c.var.unit === c.get('again' as never)}`))
    const asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'true')
    await asking[Symbol.asyncDispose]()
    assert.deepEqual([opened.count, closed.count], [1, 1])
  })

  it('R10 streams server-sent events to the end before it closes', async () => {
    const { resource: unit, closed } = watchedRequest()
    const app = quiet().get('/', inject({ unit }), (c) =>
      streamSSE(c, async (stream) => {
        for (const data of ['one', 'two']) {
          await stream.writeSSE({ data: `${data} ${closed.count}` })
          await settled()
        }
      }),
    )
    const asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'data: one 0\n\ndata: two 0\n\n')
    await asking[Symbol.asyncDispose]()
    assert.equal(closed.count, 1)
  })

  it('R10 closes once after a body that breaks, which is not ok', async () => {
    const { resource: unit, endings } = watchedRequest()
    const broken = new Error('the cursor broke')
    const app = quiet().get('/', inject({ unit }), () => {
      const body = (async function* () {
        yield new TextEncoder().encode('piece')
        await settled()
        throw broken
      })()
      return new Response(ReadableStream.from(body))
    })
    await using asking = await started(app, (running, asked) => running.fetch(asked))
    await assert.rejects(asking.ask('GET /'), broken)
    assert.deepEqual(endings, [{ ok: false, error: broken, status: 200 }])
  })

  it('closes what no route handles, injected by a middleware', async () => {
    const { resource: unit, endings } = watchedRequest()
    const asking = await listening(quiet().use(inject({ unit })))
    assert.equal((await asking.ask('GET /nowhere')).status, 404)
    await asking[Symbol.asyncDispose]()
    assert.deepEqual(endings, [{ ok: false, status: 404 }])
  })

  it('answers early, before anything was opened', async () => {
    const { resource: unit, opened } = watchedRequest()
    const app = quiet()
      .use((c) => Promise.resolve(c.text('closed today', 503)))
      .get('/', inject({ unit }), (c) => c.text('never'))
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).status, 503)
    assert.equal(opened.count, 0)
  })

  it('reaches sub-apps: routes, base paths, mounted apps, chains', async () => {
    const { resource: unit, opened, closed } = watchedRequest()
    const answer = inject({ unit })
    const sub = new Hono<Injected<{ unit: typeof unit }>>().get('/:id', (c) =>
      c.text(`${c.req.param('id')} ${c.var.unit.id}`),
    )
    const mounted = quiet().get('/deep', answer, (c) => c.text(`mounted ${c.var.unit.id}`))
    const app = quiet()
    app.use('/sub/*', answer)
    app.route('/sub', sub)
    app.basePath('/base').get('/', answer, (c) => c.text(`base ${c.var.unit.id}`))
    app.use('/mount/*', answer)
    app.mount('/mount', mounted.fetch)
    app
      .get('/chain', answer, (c) => c.text(`get ${c.var.unit.id}`))
      .post('/chain', answer, (c) => c.text(`post ${c.var.unit.id}`))
    const asking = await listening(app)
    const lines = ['GET /sub/7', 'GET /base', 'GET /mount/deep', 'GET /chain', 'POST /chain']
    const bodies: string[] = []
    for (const line of lines) bodies.push((await asking.ask(line)).body)
    await asking[Symbol.asyncDispose]()
    assert.deepEqual(bodies, ['7 1', 'base 2', 'mounted 3', 'get 4', 'post 5'])
    assert.deepEqual([opened.count, closed.count], [5, 5])
  })

  it('goes by the error of a mounted app, though its own handler answered it well', async () => {
    const { resource: unit, endings } = watchedRequest()
    const mounted = new Hono()
      .get('/', inject({ unit }), () => {
        throw new Error('broken')
      })
      .onError((_, c) => c.text('never mind'))
    const app = quiet().use(inject({ unit }))
    const asking = await listening(app.mount('/mounted', mounted.fetch))
    assert.equal((await asking.ask('GET /mounted')).body, 'never mind')
    await asking[Symbol.asyncDispose]()
    assert.equal(endings[0]!.ok, false)
  })

  it('refuses one key for two things', async () => {
    const [one, two] = [perRequest(() => 'one'), perRequest(() => 'two')]
    const thrown: unknown[] = []
    const app = new Hono()
      .use('/twice', inject({ value: one }))
      .get('/twice', inject({ value: two }), (c) => c.text('never'))
      .get(
        '/theirs',
        async (c, next) => {
          c.set('value' as never, 'theirs' as never)
          await next()
        },
        inject({ value: one }),
        (c) => c.text('never'),
      )
      .onError((error, c) => {
        thrown.push(error)
        return c.text('', 500)
      })
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /twice')).status, 500)
    assert.equal((await asking.ask('GET /theirs')).status, 500)
    assert.equal(thrown.filter(isOurs('ERR_KEY_TAKEN', /"value": c\.var has another/)).length, 2)
  })

  it('waits for `c.executionCtx.waitUntil`, and tells of its rejection', async () => {
    for (const how of [
      listening,
      (app: Hono) => started(app, (running, asked) => running.fetch(asked)),
    ] as const) {
      const [work, done] = [new Gate(), new Gate()]
      const app = quiet().get('/', (c) => {
        c.executionCtx.waitUntil(work.opened.then(() => done.open()))
        c.executionCtx.waitUntil(Promise.reject(new Error('the mail bounced')))
        return c.text('accepted', 202)
      })
      const asking = await how(app as never)
      assert.equal((await asking.ask('GET /')).status, 202)
      const stopped = asking.running.stop()
      const first = await Promise.race([stopped.then(() => 'stopped'), settled().then(() => 'waits')])
      assert.equal(first, 'waits')
      work.open()
      await within(2_000, done.opened, 'the work')
      assert.equal((await within(4_000, stopped, 'the stop')).clean, true)
      const told = asking.events.filter(({ type }) => type === 'error')
      assert.match(JSON.stringify(told), /Background work of GET \/ failed/)
    }
  })

  it('R14 says how to pass the service where none is known', async () => {
    const thrown: unknown[] = []
    const app = new Hono()
      .get('/', inject({ greeting: perApp(() => 'hello') }), (c) => c.text(c.var.greeting))
      .onError((error, c) => {
        thrown.push(error)
        return c.text('', 500)
      })
    await app.request('/')
    await app.request('/', {}, { some: 'environment' })
    const says = /start\(service\(…\)\), or pass its environment, app\.request\(path, init, running\.env\)/
    assert.equal(thrown.filter(isOurs('ERR_NO_SERVICE', says)).length, 2)
  })

  it('refuses what is no object of resources at once', () => {
    assert.throws(() => inject(undefined as never), isOurs('ERR_BAD_OPTION', /undefined/))
  })

  it('checks path parameters by a schema, of a route or of a sub-app', async () => {
    const at = param(pageSchema())
    const sub = new Hono().get('/:page', inject({ at }), (c) => c.json(c.var.at))
    const app = quiet()
      .get('/pages/:page', inject({ at }), (c) => c.json(c.var.at))
      .route('/sub', sub)
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /pages/3')).body, '{"page":3}')
    assert.equal((await asking.ask('GET /sub/4')).body, '{"page":4}')
    assert.equal((await asking.ask('GET /pages/three')).status, 400)
  })

  it('gives the address of the client, and Hono’s context as a resource', async () => {
    const stamp = perRequest({ context, request }, ({ context, request }) => {
      context.header('x-path', context.req.path)
      return request.ip
    })
    const app = quiet().get('/here', inject({ stamp }), (c) => c.text(c.var.stamp))
    await using asking = await listening(app)
    const { headers, body } = await asking.ask('GET /here')
    assert.deepEqual([headers['x-path'], body], ['/here', '127.0.0.1'])
  })

  it('finds what sub-apps inject, those with an error handler of their own too', async () => {
    const opened: string[] = []
    const [plain, own] = ['plain', 'own'].map((name) => perApp(() => opened.push(name)))
    const sub = new Hono().get('/', inject({ plain: plain! }), (c) => c.text(''))
    const handled = new Hono()
      .get('/', inject({ own: own! }), (c) => c.text(''))
      .onError((_, c) => c.text(''))
    const app = quiet().route('/sub', sub).route('/own', handled)
    await using _asking = await listening(app)
    assert.deepEqual(opened.toSorted(), ['own', 'plain'])
  })

  it('warns once of what opens at its first use, unseen in the routes', async () => {
    const late = perApp(() => 'late')
    const hidden = inject({ late })
    const app = quiet().get('/', (c) => hidden(c as never, async () => {}).then(() => c.text('fine')) as never)
    await using asking = await listening(app)
    await asking.ask('GET /')
    await asking.ask('GET /')
    const warnings = asking.events.filter(({ type }) => type === 'warning')
    assert.equal(warnings.length, 1)
    assert.match(JSON.stringify(warnings), /\\"late\\" opens at its first use/)
  })
})

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

  it('ends a request by HEAD, whose answer has no body', async () => {
    const { app, closed } = shop()
    await using running = await start(service({ app }))
    assert.equal((await app.request('/unit/1', { method: 'HEAD' }, running.env)).status, 200)
    assert.equal((await running.fetch('/unit/1', { method: 'HEAD' })).status, 200)
    await within(2_000, closed.reached(2), 'both closes')
  })

  it('ends a request whose long answer is cancelled', async () => {
    const { resource: unit, closed } = watchedRequest()
    const app = quiet().get('/', inject({ unit }), () => {
      const endless = (async function* () {
        for (;;) yield new Uint8Array(10_000)
      })()
      return new Response(ReadableStream.from(endless))
    })
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

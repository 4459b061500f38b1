import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { streamSSE } from 'hono/streaming'
import { context, inject, type Injected } from '../../src/adapters/hono.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { param, request } from '../../src/service/request.ts'
import { addStopTests } from '../helpers/stop-suite.ts'
import { addStreamTests } from '../helpers/stream-suite.ts'
import { addClientTests } from '../helpers/client-suite.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { listening, started, watchedHandler, watchedRequest } from '../helpers/door.ts'
import { settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { honoDoor, quiet } from '../helpers/hono-door.ts'
import { addBuiltinTests, addEveryRequestTests, pageSchema } from '../helpers/request-suite.ts'
import { byFetch, failures, isOurs, overHttp } from '../helpers/way.ts'
import { within } from '../helpers/within.ts'

for (const way of [overHttp(honoDoor), byFetch(honoDoor)]) {
  addScopeTests(way)
  addBuiltinTests(way)
  addEveryRequestTests(way)
}
addClientTests(honoDoor)
addStopTests(honoDoor)
addStreamTests(honoDoor, 'a web stream')

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

  it('R10 closes once after a body that breaks, which is not ok', async (t) => {
    const broken = new Error('the cursor broke')
    // Hono's adapter writes there what it cannot answer for any more
    t.mock.method(console, 'error', () => {})
    for (const how of [
      listening,
      (app: unknown) => started(app, (running, asked) => running.fetch(asked)),
    ]) {
      const { resource: unit, endings } = watchedRequest()
      const app = quiet().get('/', inject({ unit }), () => {
        const body = (async function* () {
          for (let n = 0; n < 10; n++) {
            yield new TextEncoder().encode('piece')
            await settled()
          }
          throw broken
        })()
        return new Response(ReadableStream.from(body))
      })
      await using asking = await how(app)
      await assert.rejects(asking.ask('GET /'))
      await asking.running.stop()
      assert.deepEqual(endings, [{ ok: false, error: broken, status: 200 }])
      assert.deepEqual(failures(asking.events), [{ path: [], message: 'the cursor broke' }])
    }
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
      (app: unknown) => started(app, (running, asked) => running.fetch(asked)),
    ] as const) {
      const [work, done] = [new Gate(), new Gate()]
      const app = quiet().get('/', (c) => {
        c.executionCtx.waitUntil(work.opened.then(() => done.open()))
        c.executionCtx.waitUntil(Promise.reject(new Error('the mail bounced')))
        return c.text('accepted', 202)
      })
      const asking = await how(app)
      assert.equal((await asking.ask('GET /')).status, 202)
      const stopped = asking.running.stop()
      const first = await Promise.race([
        stopped.then(() => 'stopped'),
        settled().then(() => 'waits'),
      ])
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
    const says =
      /start\(service\(…\)\), or pass its environment, app\.request\(path, init, running\.env\)/
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

  it('warns once of what opens at its first use, unseen in the routes, however often it tries', async () => {
    let tries = 0
    const late = perApp(() => {
      if (++tries < 3) throw new Error('not yet')
      return 'late'
    })
    const hidden = inject({ late })
    const app = quiet().get('/', async (c) => {
      await hidden(c as never, async () => {})
      return c.text('fine')
    })
    await using asking = await listening(app)
    for (const status of [500, 500, 200]) assert.equal((await asking.ask('GET /')).status, status)
    const warnings = asking.events.filter(({ type }) => type === 'warning')
    assert.equal(warnings.length, 1)
    assert.match(JSON.stringify(warnings), /\\"late\\" opens at its first use/)
  })
})

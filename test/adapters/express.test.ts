import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { describe, it } from 'node:test'
import type express from 'express'
import type { Express } from 'express'
import { inject, res } from '../../src/adapters/express.ts'
import { signal } from '../../src/scope/builtin.ts'
import { request as requestInfo } from '../../src/service/request.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { serve } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { addClientTests } from '../helpers/client-suite.ts'
import { listening, watchedHandler, watchedRequest } from '../helpers/door.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { expressDoor, expresses, onError, quiet } from '../helpers/express-door.ts'
import { settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { addBuiltinTests, addEveryRequestTests } from '../helpers/request-suite.ts'
import { quietly } from '../helpers/services.ts'
import { addStopTests } from '../helpers/stop-suite.ts'
import { addStreamTests } from '../helpers/stream-suite.ts'
import { isOurs, overHttp } from '../helpers/way.ts'
import { within } from '../helpers/within.ts'
import { addWritingTests } from '../helpers/writing-suite.ts'

for (const [name, make] of Object.entries(expresses)) {
  const door = expressDoor(name, make)
  addScopeTests(overHttp(door))
  addBuiltinTests(overHttp(door))
  addEveryRequestTests(overHttp(door))
  addClientTests(door)
  addWritingTests(door)
  addStopTests(door)
  addStreamTests(door)
  describe(`steward/express on ${name}`, () => {
    addMiddlewareTests(make)
    addAppTests(make)
  })
}

function addMiddlewareTests(make: typeof express): void {
  it('gives a middleware, of an app, a router or a route; its handlers take the values', async () => {
    const pool = perApp(() => 'pool')
    const { resource: unit, opened, closed } = watchedRequest()
    const [outer, inner] = [inject({ pool }), inject({ unit })]
    const app = make().use(outer)
    const router = make.Router().use(inner)
    router.get('/x', inner, (request, response) => {
      response.send(`${outer.of(request).pool} ${inner.of(request).unit.id}`)
    })
    await using asking = await listening(app.use('/sub', router))
    assert.equal((await asking.ask('GET /sub/x')).body, 'pool 1')
    await asking.running.stop()
    assert.deepEqual([opened.count, closed.count], [1, 1])
  })

  it('R11 ends the handler scope behind a middleware when the response is ended', async () => {
    const { resource: tx, endings } = watchedHandler(settled)
    const deps = inject({ tx })
    const app = make().use(deps)
    app.post('/orders', (request, response) => {
      setImmediate(() => response.status(201).json({ id: deps.of(request).tx.id }))
    })
    app.post('/conflict', (_request, response) => void response.status(409).end())
    await using asking = await listening(app)
    assert.deepEqual((await asking.ask('POST /orders')).body, '{"id":1}')
    assert.equal((await asking.ask('POST /conflict')).status, 409)
    assert.deepEqual(endings, [
      { ok: true, status: 201 },
      { ok: false, status: 409 },
    ])
  })

  it('R11 hands a failing commit to the error handlers of the app', async () => {
    const failing = perHandler(async function* () {
      yield 'transaction'
      await settled()
      throw new Error('the commit failed')
    })
    const app = make().use(inject({ failing }))
    app.post('/', (_request, response) => void response.status(201).location('/1').send('created'))
    await using asking = await listening(quiet(app))
    const { status, body, headers } = await asking.ask('POST /')
    assert.deepEqual([status, body, headers['location']], [500, 'broken', undefined])
  })

  it('R11 refuses to stream behind a middleware, naming the resource', async () => {
    const { resource: tx, endings } = watchedHandler()
    const app = make().use(inject({ tx }))
    app.get('/', (_request, response) => void response.write('piece'))
    await using asking = await listening(quiet(app))
    assert.equal((await asking.ask('GET /')).status, 500)
    assert.equal(endings.length, 1)
    assert.ok(isOurs('ERR_HANDLER_STREAMS', /"tx"/)(endings[0]!.error))
  })

  it('R10 takes back what a client has left in the middle of, behind a middleware', async () => {
    const { resource: tx, closed, endings } = watchedHandler()
    const inHandler = new Gate()
    const app = make().use(inject({ tx }))
    app.get('/', () => inHandler.open())
    await using asking = await listening(app)
    const client = await RawClient.connect(asking.port)
    client.request('GET /')
    await within(2_000, inHandler.opened, 'the handler')
    client.reset()
    await within(2_000, closed.reached(1), 'the close')
    assert.ok(isOurs('ERR_CLIENT_GONE', /GET \//)(endings[0]!.error))
  })

  it('R10 closes what opens after a client has left, behind a middleware', async () => {
    const [opening, open, left] = [new Gate(), new Gate(), new Gate()]
    const { resource: tx, closed, endings } = watchedHandler()
    const slow = perHandler({ tx, signal }, async ({ signal }) => {
      signal.addEventListener('abort', () => left.open())
      opening.open()
      await open.opened
    })
    let called = 0
    const app = quiet(
      make()
        .use(inject({ slow }))
        .get('/', () => void called++),
    )
    await using asking = await listening(app)
    const client = await RawClient.connect(asking.port)
    client.request('GET /')
    await within(2_000, opening.opened, 'the opener')
    client.reset()
    await within(2_000, left.opened, 'the signal')
    assert.equal(closed.count, 0)
    open.open()
    await within(2_000, closed.reached(1), 'the close')
    await within(2_000, asking.running.stop(), 'the stop')
    assert.deepEqual([called, endings.length, endings[0]!.ok], [0, 1, false])
  })

  it('R19 hands an opener’s own error to the error handlers', async () => {
    const refused = Object.assign(new Error('who are you'), { status: 401 })
    const user = perRequest(() => Promise.reject(refused))
    const app: Express = make().use(inject({ user }))
    const seen: unknown[] = []
    onError(app, (error, response) => {
      seen.push(error)
      response.status(401).end()
    })
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).status, 401)
    assert.deepEqual(seen, [refused])
  })

  it('says what is missing where nothing was injected', async () => {
    const deps = inject({ pool: perApp(() => 'pool') })
    const app = make()
    const seen: unknown[] = []
    app.get('/', (request, response) => {
      try {
        deps.of(request)
      } catch (error) {
        seen.push(error)
      }
      response.end()
    })
    await using asking = await listening(app)
    await asking.ask('GET /')
    assert.ok(isOurs('ERR_NOT_INJECTED', /\{ pool \} of this request: .*app\.use\(deps\)/)(seen[0]))
  })
}

function addAppTests(make: typeof express): void {
  it('L1 opens what routes, routers and middlewares inject before it listens', async () => {
    const opened: string[] = []
    const [one, two, three] = ['one', 'two', 'three'].map((name) =>
      perApp(() => void opened.push(name)),
    )
    const router = make.Router().get(
      '/',
      inject({ one: one! }, () => {}),
    )
    const app = make().use(inject({ two: two! }), make.Router().use('/deep', router))
    app.get(
      '/',
      inject({ three: three! }, () => {}),
    )
    for (const served of [app, createServer(app)]) {
      opened.length = 0
      await using asking = await listening(served)
      assert.deepEqual(opened.toSorted(), ['one', 'three', 'two'])
      assert.deepEqual(
        asking.events.filter(({ type }) => type === 'warning'),
        [],
      )
    }
  })

  it('R11 refuses a file while a resource of the handler is open, and sends it without', async () => {
    const { resource: tx, endings } = watchedHandler()
    const app = make()
    const file = import.meta.filename
    app.get(
      '/file',
      inject({}, (_request, response) => response.sendFile(file)),
    )
    app.get(
      '/tx',
      inject({ tx }, (_request, response) => response.sendFile(file)),
    )
    await using asking = await listening(quiet(app))
    assert.match((await asking.ask('GET /file')).body, /the line that is looked for/)
    assert.equal((await asking.ask('GET /tx')).status, 500)
    assert.ok(isOurs('ERR_HANDLER_STREAMS', /"tx"/)(endings[0]!.error))
  })

  it('R11 sends what comes while the commit is under way after it', async () => {
    const commit = new Gate()
    const { resource: tx, closed } = watchedHandler(() => commit.opened)
    const app = make()
    app.get(
      '/',
      inject({ tx }, (_request, response) => {
        void closed.reached(1).then(() => {
          response.write('one ')
          response.end('two')
          commit.open()
        })
      }),
    )
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'one two')
  })

  it('gives `res`, and the path parameters', async () => {
    const stamp = perRequest({ res, request: requestInfo }, ({ res, request }) =>
      res.set('x-stamp', request.params['id']),
    )
    const app = make()
    app.get(
      '/:id',
      inject({ stamp }, (_request, response) => response.send('fine')),
    )
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /42')).headers['x-stamp'], '42')
  })

  it('L9 starts again, with fresh resources, as it is and by a resource', async () => {
    let made = 0
    const pool = perApp(() => ++made)
    const routes = (app: Express): Express =>
      app.get(
        '/',
        inject({ pool }, (_request, response, { pool }) => response.send(`${pool}`)),
      )
    for (const app of [routes(make()), perApp(() => routes(make()))]) {
      made = 0
      for (const expected of ['1', '2']) {
        await using running = await serve(service({ app }), quietly)
        assert.equal(
          await (await fetch(running.url, { headers: { connection: 'close' } })).text(),
          expected,
        )
      }
    }
  })

  it('R14 says how to start a service where none runs', async () => {
    const app = make()
    app.get(
      '/',
      inject({ pool: perApp(() => 'pool') }, () => {}),
    )
    const seen = Promise.withResolvers<unknown>()
    onError(app, (error, response) => {
      seen.resolve(error)
      response.end()
    })
    const server = app.listen(0)
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    await fetch(`http://127.0.0.1:${port}/`)
    server.close()
    server.closeAllConnections()
    assert.ok(isOurs('ERR_NO_SERVICE', /steward serve, .*service\(\{ app \}\)/)(await seen.promise))
  })

  it('refuses what is no handler, and what is no set of resources', () => {
    const pool = perApp(() => 'pool')
    assert.throws(() => inject({ pool }, 42 as never), isOurs('ERR_BAD_OPTION', /42/))
    assert.throws(() => inject(pool as never), isOurs('ERR_BAD_OPTION', /inject\(\{ pool \}\)/))
  })
}
// the line that is looked for

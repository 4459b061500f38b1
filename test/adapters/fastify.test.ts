import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import { Readable } from 'node:stream'
import steward, { inject, reply } from '../../src/adapters/fastify.ts'
import { request as requestInfo } from '../../src/service/request.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { serve, start } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { addClientTests } from '../helpers/client-suite.ts'
import { listening, watchedHandler, watchedRequest } from '../helpers/door.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { settled } from '../helpers/fake-world.ts'
import { fastifyDoor, fastifyHookDoor } from '../helpers/fastify-door.ts'
import { addBuiltinTests, addEveryRequestTests } from '../helpers/request-suite.ts'
import { portOf, quietly } from '../helpers/services.ts'
import { addStopTests } from '../helpers/stop-suite.ts'
import { addStreamTests } from '../helpers/stream-suite.ts'
import { errorOf } from '../helpers/traced.ts'
import { isOurs, overHttp } from '../helpers/way.ts'
import { within } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'
import { addWritingTests } from '../helpers/writing-suite.ts'

for (const door of [fastifyDoor, fastifyHookDoor]) {
  addScopeTests(overHttp(door))
  addBuiltinTests(overHttp(door))
  addEveryRequestTests(overHttp(door))
  addClientTests(door)
  addWritingTests(door)
  addStopTests(door)
  addStreamTests(door)
}

const pool = perApp(() => 'pool')

/** An app with the plugin, and routes. */
function appWith(routes: (app: FastifyInstance) => void): FastifyInstance {
  const app = Fastify()
  void app.register(steward).after(() => routes(app))
  return app
}

describe('steward/fastify, the handler', () => {
  const { resource: tx, endings } = watchedHandler(settled)
  const ways: Record<string, Parameters<typeof inject<{ tx: typeof tx }>>[1]> = {
    'an async handler that returns': async () => 'answer',
    'a handler that returns': () => 'answer',
    'an async handler that sends': async (_, reply) => {
      reply.send('answer')
    },
    'an async handler that returns what it sent': async (_, reply) => reply.send('answer'),
    'a handler that sends': (_, reply) => void reply.send('answer'),
    'a handler that sends later': (_, reply) => void setImmediate(() => reply.send('answer')),
    'a handler that returns the reply, and sends later': async (_, reply) => {
      setImmediate(() => reply.send('answer'))
      return reply
    },
    'a handler that writes by itself': (_, reply) => {
      reply.hijack()
      reply.raw.end('answer')
    },
  }
  for (const [way, handler] of Object.entries(ways)) {
    it(`R11 answers after the commit: ${way}`, async () => {
      endings.length = 0
      const app = appWith((app) => {
        app.get('/tx', inject({ tx }, handler))
        app.get('/none', inject({}, handler as never))
        app.get('/before', { preHandler: inject({ tx }) }, handler as never)
      })
      await using asking = await listening(app)
      for (const path of ['/tx', '/none', '/before']) {
        const { status, body } = await within(2_000, asking.ask(`GET ${path}`), path)
        assert.deepEqual([status, body], [200, 'answer'])
      }
      assert.deepEqual(
        endings.map(({ ok }) => ok),
        [true, true],
      )
    })
  }

  it('R11 keeps the status of an error that is sent, and takes the commit back', async () => {
    const { resource: tx, endings } = watchedHandler()
    const app = appWith((app) => {
      app.get(
        '/',
        inject({ tx }, async (_, reply) => reply.code(404).send(new Error('none'))),
      )
    })
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).status, 404)
    assert.equal(endings[0]!.ok, false)
  })

  it('R11 says that the reply was sent, and drops what is sent after that', async () => {
    const { resource: tx } = watchedHandler()
    const seen: boolean[] = []
    const app = appWith((app) => {
      app.get(
        '/',
        inject({ tx }, async (_, reply) => {
          seen.push(reply.sent)
          reply.send('first')
          seen.push(reply.sent)
          reply.send('second')
        }),
      )
    })
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'first')
    assert.deepEqual(seen, [false, true])
  })

  it('R11 runs onSend and serialization once, for the answer that leaves', async () => {
    const seen: unknown[] = []
    const failing = perHandler(async function* () {
      yield 'transaction'
      throw new Error('the commit failed')
    })
    const app = appWith((app) => {
      app.addHook('onSend', async (_request, reply) => void seen.push(reply.statusCode))
      app.get(
        '/',
        inject({ failing }, async (_, reply) => reply.code(201).send({ ok: true })),
      )
    })
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).status, 500)
    assert.deepEqual(seen, [500])
  })

  it('R12 shares its scopes with a preHandler of the whole plugin', async () => {
    const { resource: tx, opened, endings } = watchedHandler()
    const { resource: unit, opened: units } = watchedRequest()
    const deps = inject({ tx, unit })
    const app = appWith((app) => {
      app.addHook('preHandler', deps)
      app.get(
        '/',
        inject({ tx, unit }, async (request, _, { tx, unit }) => [
          tx === deps.of(request).tx,
          unit === deps.of(request).unit,
        ]),
      )
    })
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, '[true,true]')
    assert.equal((await asking.ask('GET /elsewhere')).status, 404)
    assert.deepEqual([opened.count, units.count, endings.length], [1, 1, 1])
  })

  it('gives `reply`, and the path parameters', async () => {
    const stamp = perRequest({ reply, request: requestInfo }, ({ reply, request }) =>
      reply.header('x-stamp', request.params['id']),
    )
    const app = appWith((app) =>
      app.get(
        '/:id',
        inject({ stamp }, async () => 'fine'),
      ),
    )
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /42')).headers['x-stamp'], '42')
  })
})

describe('a Fastify app in a service', () => {
  it('L1 opens what its routes and its plugins inject before it listens', async () => {
    const opened: string[] = []
    const [one, two, three] = ['one', 'two', 'three'].map((name) =>
      perApp(() => void opened.push(name)),
    )
    const app = Fastify()
    void app.register(async (inner) => {
      await inner.register(steward)
      inner.addHook('preHandler', inject({ one: one! }))
      inner.get(
        '/',
        inject({ two: two! }, async () => 'fine'),
      )
      inner.get('/other', { preHandler: [inject({ three: three! })] }, async () => 'fine')
    })
    await using asking = await listening(app)
    assert.deepEqual(opened.toSorted(), ['one', 'three', 'two'])
    assert.deepEqual(
      asking.events.filter(({ type }) => type === 'warning'),
      [],
    )
  })

  it('says once what to do when the plugin is missing', async () => {
    const app = Fastify()
    app.get(
      '/',
      inject({ pool }, async (_request, _reply, { pool }) => pool),
    )
    const { resource: tx } = watchedHandler()
    app.get('/before', { preHandler: inject({ tx }) }, async () => 'never')
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'pool')
    const warnings = asking.events.flatMap((event) =>
      event.type === 'warning' ? event.message : [],
    )
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!, /^"pool" opens at its first use: .*await app\.register\(steward\)/)
    const { status, body } = await asking.ask('GET /before')
    assert.equal(status, 500)
    assert.match(
      body,
      /Cannot inject \{ tx \} before this handler: .*await app\.register\(steward\)/,
    )
  })

  it('L6 runs its hooks: onReady at start, preClose and onClose when traffic is over', async () => {
    const told: string[] = []
    const pool = perApp(async function* () {
      yield 'pool'
      told.push('pool closed')
    })
    const web = perApp({ pool }, () => {
      const app = appWith((app) => app.get('/', async () => void told.push('request')))
      app.addHook('onReady', async () => void told.push('onReady'))
      app.addHook('preClose', async () => void told.push('preClose'))
      app.addHook('onClose', async () => void told.push('onClose'))
      return app
    })
    const running = await serve(
      service({
        app: web,
        onStartup: () => told.push('onStartup'),
        onShutdown: async () => {
          // The lame duck serves on
          assert.equal((await fetch(running.url, { headers: { connection: 'close' } })).status, 200)
          told.push('onShutdown')
        },
        onDrained: () => told.push('onDrained'),
      }),
      { ...quietly, on: ({ type }) => void (type === 'warning' && told.push(type)) },
    )
    const { clean } = await running.stop()
    assert.deepEqual(told, [
      'onReady', 'onStartup', 'request', 'onShutdown', 'onDrained', 'preClose', 'onClose', 'pool closed',
    ]) // oxfmt-ignore
    assert.equal(clean, true)
  })

  it('L2 undoes a start whose plugin fails, and names it', async () => {
    const told: string[] = []
    const pool = perApp(async function* () {
      yield 'pool'
      told.push('pool closed')
    })
    const web = perApp({ pool }, () => {
      const app = Fastify()
      app.addHook('onClose', async () => {
        told.push('onClose')
        throw new Error('no way to close')
      })
      return app.register(async () => {
        throw new Error('no such database')
      })
    })
    const error = await errorOf(serve(service({ app: web }), quietly))
    const said = /^Cannot open "Fastify": no such database \(and 1 more, in "errors"\)$/
    assert.ok(isOurs('ERR_OPEN', said)(error))
    assert.deepEqual(told, ['onClose', 'pool closed'])
  })

  it('L9 cannot be served again once it has been closed, and says how it can', async () => {
    const app = Fastify()
    await (await serve(service({ app }), quietly)).stop()
    const error = await errorOf(serve(service({ app }), quietly))
    assert.ok(isOurs('ERR_OPEN', /it has been closed, .*make it by a resource/)(error))
  })

  it('L10 is refused by a second service', async () => {
    const app = Fastify()
    await using _first = await serve(service({ app }), quietly)
    const error = await errorOf(serve(service({ app }), quietly))
    assert.ok(isOurs('ERR_OPEN', /another service runs it/)(error))
  })

  it('L9 starts again, with fresh resources, when a resource makes it, also an async one', async () => {
    let made = 0
    const web = perApp(async () => {
      const id = ++made
      const app = Fastify()
      app.get('/', async () => `app ${id}`)
      return app
    })
    const definition = service({ app: web })
    for (const expected of ['app 1', 'app 2']) {
      await using running = await serve(definition, quietly)
      assert.equal(
        await (await fetch(running.url, { headers: { connection: 'close' } })).text(),
        expected,
      )
    }
  })

  it('R14 says how to start a service where none runs', async () => {
    const app = appWith((app) =>
      app.get(
        '/',
        inject({ pool }, async () => 'never'),
      ),
    )
    const { statusCode, json } = await app.inject('/')
    assert.equal(statusCode, 500)
    assert.match(json<{ message: string }>().message, /steward serve, .*start\(service/)
    await app.close()
  })

  it('answers app.inject() in a test, while a service runs it', async () => {
    const { resource: unit, opened, closed } = watchedRequest()
    const { resource: audit, closed: audited } = watchedRequest()
    const { resource: tx, endings } = watchedHandler()
    const app = appWith((app) => {
      app.get(
        '/',
        inject({ unit, tx }, async () => 'fine'),
      )
      app.get(
        '/stream',
        inject({ unit }, async () => Readable.from(['one ', 'two'])),
      )
    })
    const running = await start(service({ app, everyRequest: { audit } }))
    assert.equal((await app.inject('/')).body, 'fine')
    assert.equal((await app.inject('/stream')).body, 'one two')
    await running.stop()
    assert.deepEqual([opened.count, closed.count, audited.count, endings.length], [2, 2, 2, 1])
  })

  it('leaves its WebSocket plugin at work, and injects into its routes', async () => {
    const { resource: unit, closed } = watchedRequest()
    const deps = inject({ unit })
    const app = Fastify()
    await app.register(websocket)
    await app.register(steward)
    app.get('/echo', { websocket: true, preHandler: deps }, (socket, request) => {
      const { unit } = deps.of(request)
      socket.on('message', (message: Buffer) => socket.send(`${unit.id} ${message.toString()}`))
    })
    await using asking = await listening(app)
    const client = new WebSocket(`ws://127.0.0.1:${asking.port}/echo`)
    const said = Promise.withResolvers<unknown>()
    client.onopen = () => client.send('hello')
    client.onmessage = ({ data }) => said.resolve(data)
    assert.equal(await within(2_000, said.promise, 'the echo'), '1 hello')
    assert.equal(closed.count, 0)
    client.close()
    await within(2_000, closed.reached(1), 'the close')
  })

  it('W9 parts with the clients of its WebSocket plugin in order, before it closes anything', async () => {
    const { resource: unit, closed } = watchedRequest()
    const lines: string[] = []
    const deps = inject({ unit })
    const app = Fastify()
    app.addHook('onClose', async () => void lines.push(`closed behind ${closed.count}`))
    await app.register(websocket)
    await app.register(steward)
    app.get('/echo', { websocket: true, preHandler: deps }, (socket) => {
      socket.on('message', (message: Buffer) => socket.send(message.toString()))
    })
    const running = await serve(service({ app, goodbye: { reason: 'back soon' } }), quietly)
    using client = await WsClient.connect(portOf(running), '/echo')
    client.ws.send('hello')
    assert.equal(await client.next(), 'hello')
    const { clean, served } = await running.stop()
    assert.deepEqual(await client.end, { code: 1001, reason: 'back soon' })
    assert.deepEqual([clean, served.sockets], [true, { told: 1, lost: 0 }])
    assert.deepEqual(lines, ['closed behind 1'])
  })
})

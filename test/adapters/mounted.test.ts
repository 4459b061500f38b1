import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { describe, it } from 'node:test'
import Router from '@koa/router'
import Fastify from 'fastify'
import { Server as SocketServer } from 'socket.io'
import { io } from 'socket.io-client'
import { WebSocketServer } from 'ws'
import { inject as injectExpress } from '../../src/adapters/express.ts'
import steward, { inject as injectFastify } from '../../src/adapters/fastify.ts'
import { inject as injectKoa } from '../../src/adapters/koa.ts'
import { inject as injectNest } from '../../src/adapters/nest.ts'
import { inject as injectNode } from '../../src/adapters/node.ts'
import { perApp } from '../../src/scope/resource.ts'
import { serve } from '../../src/service/serve.ts'
import { service, type ServedApp } from '../../src/service/service.ts'
import { listening, watchedRequest, type Watched } from '../helpers/door.ts'
import { expresses } from '../helpers/express-door.ts'
import { quiet as quietKoa } from '../helpers/koa-door.ts'
import { nestApp, platforms } from '../helpers/nest-door.ts'
import { answerTo, Http2Client } from '../helpers/http2-client.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { portOf, quietly } from '../helpers/services.ts'
import { within } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

type Unit = Watched<'request'>['resource']

/** Apps whose `/deep/unit` is answered from within: by a router, a plugin, an app inside the app. */
const mounted: Record<string, (unit: Unit) => unknown> = {
  'a plugin of Fastify with a prefix': (unit) => {
    const app = Fastify()
    void app.register(steward).after(() => {
      void app.register(
        async (inner) => {
          const deps = injectFastify({ unit })
          inner.addHook('preHandler', deps)
          inner.get('/unit', async (request) => `unit ${deps.of(request).unit.id}`)
        },
        { prefix: '/deep' },
      )
    })
    return app
  },
  'a router inside a router of Koa': (unit) => {
    const deps = injectKoa({ unit })
    const inner = new Router().use(deps).get('/unit', (ctx) => {
      ctx.body = `unit ${deps.of(ctx).unit.id}`
    })
    return quietKoa().use(new Router().use('/deep', inner.routes()).routes())
  },
  'a listener of Node that hands on': (unit) => {
    const inner = injectNode({ unit }, (_request, response, { unit }) =>
      response.end(`unit ${unit.id}`),
    )
    return createServer((request, response) =>
      request.url === '/deep/unit' ? void inner(request, response) : response.writeHead(404).end(),
    )
  },
}
for (const [name, make] of Object.entries(expresses)) {
  mounted[`an app inside an app of ${name}`] = (unit) => {
    const deps = injectExpress({ unit })
    const inner = make().use(deps)
    inner.get(
      '/unit',
      (request, response) => void response.send(`unit ${deps.of(request).unit.id}`),
    )
    return make().use('/deep', inner)
  }
}
for (const platform of platforms) {
  mounted[`a prefix of Nest on ${platform}`] = (unit) =>
    perApp(async () => {
      const deps = injectNest({ unit })
      const handle = (request: object): string => `unit ${deps.of(request).unit.id}`
      const app = await nestApp(platform, [{ path: '/unit', interceptors: [deps], handle }])
      return app.setGlobalPrefix('deep')
    })
}

describe('what answers from within an app', () => {
  for (const [name, make] of Object.entries(mounted)) {
    it(`R10 R12 has the scope of its request: ${name}`, async () => {
      const { resource: unit, opened, closed } = watchedRequest()
      await using asking = await listening(make(unit))
      assert.equal((await asking.ask('GET /deep/unit')).body, 'unit 1')
      assert.equal((await asking.ask('GET /unit')).status, 404)
      assert.equal((await asking.ask('GET /deep/unit')).body, 'unit 2')
      await asking.running.stop()
      assert.deepEqual([opened.count, closed.count], [2, 2])
    })
  }
})

/** An app with resources, and the server that it is on, which never listens. */
interface OnServer {
  readonly app: ServedApp
  readonly server: Server
}

const onServers: Record<string, (unit: Unit) => OnServer> = {
  Fastify: (unit) => {
    const app = Fastify()
    void app.register(steward).after(() => {
      app.get(
        '/',
        injectFastify({ unit }, async (_request, _reply, { unit }) => `unit ${unit.id}`),
      )
    })
    return { app, server: app.server }
  },
  Koa: (unit) => {
    const app = quietKoa()
    app.use(
      injectKoa({ unit }, (ctx, { unit }) => {
        ctx.body = `unit ${unit.id}`
      }),
    )
    return alone(createServer(app.callback() as never))
  },
}
for (const [name, make] of Object.entries(expresses)) {
  onServers[name] = (unit) => {
    const app = make()
    app.get(
      '/',
      injectExpress({ unit }, (_request, response, { unit }) => response.send(`unit ${unit.id}`)),
    )
    return alone(createServer(app))
  }
}

/** The server is the app. */
function alone(server: Server): OnServer {
  return { app: server, server }
}

describe('a server of the app with WebSockets of a library on it', () => {
  for (const [name, make] of Object.entries(onServers)) {
    it(`W9 serves both, and closes those of ws in order: ${name}`, async () => {
      const { resource: unit } = watchedRequest()
      const { app, server } = make(unit)
      new WebSocketServer({ server }).on('connection', (ws) => {
        ws.on('message', (data) => ws.send(data as Buffer, { binary: false }))
      })
      const running = await serve(service({ app }), quietly)
      assert.equal(await (await fetch(running.url)).text(), 'unit 1')
      using client = await WsClient.connect(portOf(running))
      client.ws.send('hello')
      assert.equal(await client.next(), 'hello')
      const { clean, served } = await within(5_000, running.stop(), 'the stop')
      assert.deepEqual(await client.end, { code: 1001, reason: '' })
      assert.deepEqual([clean, served.sockets], [true, { told: 1, lost: 0 }])
    })

    it(`W9 serves both, and closes those of Socket.IO in order: ${name}`, async () => {
      const { resource: unit } = watchedRequest()
      const { app, server } = make(unit)
      const sockets = new SocketServer(server)
      sockets.on('connection', (socket) => socket.on('say', (text) => socket.emit('said', text)))
      const running = await serve(service({ app }), quietly)
      const client = io(running.url, { reconnection: false, forceNew: true })
      const said = new Promise((resolve) => client.once('said', resolve))
      client.emit('say', 'hello')
      assert.equal(await within(5_000, said, 'the echo'), 'hello')
      const upgraded = (): boolean => client.io.engine.transport.name === 'websocket'
      if (!upgraded()) {
        await within(5_000, new Promise((resolve) => client.io.engine.once('upgrade', resolve)))
      }
      assert.equal(await (await fetch(running.url)).text(), 'unit 1')
      const gone = new Promise((resolve) => client.once('disconnect', resolve))
      const { clean, served } = await within(5_000, running.stop(), 'the stop')
      assert.equal(await within(5_000, gone, 'the end'), 'transport close')
      client.close()
      assert.deepEqual([clean, served.cut, served.sockets], [true, 0, { told: 1, lost: 0 }])
    })
  }

  it('W9 serves a server that is there for WebSockets alone', async () => {
    const server = createServer()
    new WebSocketServer({ server }).on('connection', (ws) => ws.send('hello'))
    const running = await serve(service({ app: server }), { ...quietly, http2: true })
    const port = portOf(running)
    using plain = await RawClient.connect(port)
    const { status, headers } = await plain.request('GET /').response()
    assert.deepEqual([status, headers['upgrade'], headers['connection']], [426, 'websocket', 'Upgrade']) // oxfmt-ignore
    const http2 = await Http2Client.connect(port)
    assert.equal((await answerTo(http2.open('GET /'))).status, 426)
    http2.session.close()
    using client = await WsClient.connect(port)
    assert.equal(await client.next(), 'hello')
    const { clean, served } = await within(5_000, running.stop(), 'the stop')
    assert.deepEqual(await client.end, { code: 1001, reason: '' })
    assert.deepEqual([clean, served.sockets], [true, { told: 1, lost: 0 }])
  })
})

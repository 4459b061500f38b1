import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Hono, type Context } from 'hono'
import { inject, socket, type Injected } from '../../src/adapters/hono.ts'
import { fake, start, service } from '../../src/index.ts'
import { perApp, perRequest } from '../../src/scope/resource.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { echo, served } from '../helpers/sockets.ts'
import { within } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

const seat = perRequest({ socket }, ({ socket }) => socket)

async function echoed(c: Context<Injected<{ socket: typeof socket }>>) {
  await echo(c.var.socket)
  return c.var.socket.ended()
}

describe('inject({ socket }, options)', () => {
  it('opens and keeps the WebSockets of this route as the options say, and those of others as usual', async () => {
    const options = {
      origins: ['https://shop.example'],
      protocols: ['v2', 'v1'],
      maxPayload: 100,
      compression: true,
    }
    const app = new Hono()
      .get('/usual', inject({ socket }), echoed)
      .get('/own', inject({ socket }, options), echoed)
      .get('/seat', inject({ seat }, options), async (c) => {
        await echo(c.var.seat)
        return c.var.seat.ended()
      })
    await using at = await served(app)
    for (const path of ['/own', '/seat']) {
      const strange = { headers: { origin: `http://127.0.0.1:${at.port}` } }
      assert.equal((await WsClient.refused(at.port, path, strange)).status, 403)
      assert.equal((await WsClient.refused(at.port, path, { protocols: ['v3'] })).status, 400)
      using client = await WsClient.connect(at.port, path, { protocols: ['v1', 'v2'] })
      assert.deepEqual([client.ws.protocol, client.ws.extensions], ['v2', 'permessage-deflate'])
      client.ws.send('hello')
      assert.equal(await client.next(), 'hello')
      client.ws.send('x'.repeat(101))
      assert.equal((await client.end).code, 1009)
    }
    using usual = await WsClient.connect(at.port, '/usual')
    assert.equal(usual.ws.extensions, '')
    usual.ws.send('x'.repeat(101))
    assert.equal(await usual.next(), 'x'.repeat(101))
  })

  it('W8 asks for signs of life as often as the route says', async () => {
    const gone = new Gate<unknown>()
    const app = new Hono().get(
      '/',
      inject({ socket }, { pingEvery: '10s', pingLimit: '20s' }),
      async (c) => {
        for await (const _ of c.var.socket);
        gone.open(c.var.socket.closed)
        return c.var.socket.ended()
      },
    )
    await using at = await served(app, {}, { world: fastWorld(40) })
    using silent = await RawClient.connect(at.port, { holdOpen: true })
    silent.send(
      'GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    assert.deepEqual(await within(5_000, gone.opened), { code: 1006, reason: '' })
  })

  it('is the same once, for a middleware around it that has opened it, and refuses other options then', async () => {
    const strict = inject({ socket }, { maxPayload: 100 })
    const app = new Hono()
      .use('/same', strict)
      .get('/same', strict, echoed)
      .use('/inner', strict)
      .get('/inner', inject({ socket }), echoed)
      .use('/late', inject({ socket }))
      .get('/late', strict, echoed)
      .onError((_, c) => c.text('never sent', 500))
    await using at = await served(app)
    for (const path of ['/same', '/inner']) {
      using client = await WsClient.connect(at.port, path)
      client.ws.send('x'.repeat(101))
      assert.equal((await client.end).code, 1009, path)
    }
    using late = await WsClient.connect(at.port, '/late')
    assert.equal((await late.end).code, 1011)
    const { error } = await at.told.event('request.failed', ({ url }) => url === '/late')
    assert.match(String(error), /Cannot open the WebSocket with options: .* give them there/)
  })

  it('refuses what is no option, and options without a WebSocket, when the route is made', () => {
    const pool = perApp(() => 'pool')
    const all = inject as (wanted: object, options?: object) => unknown
    assert.throws(() => all({ socket }, { maxPayload: -1 }), { code: 'ERR_BAD_OPTION' })
    assert.throws(() => all({ socket }, { maxPayloads: 1 }), /there is no such option/)
    assert.throws(() => all({ socket }, null!), { code: 'ERR_BAD_OPTION' })
    for (const compression of ['yes', null, { threshold: -1 }, { level: 9 }, { threshold: '1k' }]) {
      assert.throws(() => all({ socket }, { compression }), { code: 'ERR_BAD_OPTION' })
    }
    assert.throws(() => all({ pool }, { maxPayload: 1 }), /none is among what is injected/)
    assert.throws(() => all({}, {}), { code: 'ERR_BAD_OPTION' })
    // Nobody knows yet what a circular import will bring
    assert.doesNotThrow(() => all({ seat: perRequest({ later: undefined! }, () => 1) }, {}))
  })

  it('leaves a socket that a test replaces alone', async () => {
    const said: unknown[] = []
    const app = new Hono().get('/', inject({ socket }, { maxPayload: 1 }), async (c) => {
      await c.var.socket.send('hello')
      return c.text('spoken')
    })
    const replaced = { send: async (text: string) => said.push(text) }
    await using running = await start(service({ app }), { with: [fake(socket, replaced as never)] })
    assert.equal(await (await running.fetch('/')).text(), 'spoken')
    assert.deepEqual(said, ['hello'])
  })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket as NetSocket } from 'node:net'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { websocket, type Socket } from '../../src/adapters/hono.ts'
import { stopping } from '../../src/index.ts'
import { perApp, perRequest } from '../../src/scope/resource.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { Gate } from '../helpers/gate.ts'
import { pause } from '../helpers/pause.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { echo, served } from '../helpers/sockets.ts'
import { turns, within } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

describe('the goodbye', () => {
  it('W1 W4 tells each client first, closes with 1001, and closes the app after every cleanup', async () => {
    const lines: string[] = []
    const db = perApp(function* () {
      yield { write: (line: string) => lines.push(line) }
      lines.push('db closed')
    })
    const seat = perRequest({ db }, async function* ({ db }) {
      yield db
      await turns(5)
      db.write('seat closed')
    })
    const sockets = new Set<Socket>()
    const app = new Hono().get(
      '/',
      websocket({ seat }, async (socket, { seat }) => {
        sockets.add(socket)
        for await (const message of socket) await socket.send(message)
        await turns(5)
        seat.write('handler cleaned up')
      }),
    )
    const at = await served(app, {
      onShutdown: async () => {
        lines.push('told')
        for (const one of sockets) await one.send('going away')
      },
    })
    using client = await WsClient.connect(at.port)
    client.ws.send('hello')
    assert.equal(await client.next(), 'hello')
    const report = at.running.stop()
    assert.equal(await client.next(), 'going away')
    assert.deepEqual(await client.end, { code: 1001, reason: '' })
    const { clean, served: counted } = await report
    assert.deepEqual([clean, counted.sockets], [true, { told: 1, lost: 0 }])
    assert.deepEqual(lines, ['told', 'handler cleaned up', 'seat closed', 'db closed'])
  })

  it('W1 closes with the code and the reason of the service, and with 1012 when it restarts', async () => {
    const app = new Hono().get('/', websocket({}, echo))
    const own = await served(app, { goodbye: { code: 4000, reason: 'back soon' } })
    using first = await WsClient.connect(own.port)
    await own.running.stop()
    assert.deepEqual(await first.end, { code: 4000, reason: 'back soon' })
    const again = await served(app)
    using second = await WsClient.connect(again.port)
    const { stop } = again.running as unknown as {
      stop(why: string, manner: object): Promise<void>
    }
    await stop.call(again.running, 'roll', { restarts: true })
    assert.deepEqual(await second.end, { code: 1012, reason: '' })
  })

  it('W1 tells a handler that only sends, and leaves it time of its own', async () => {
    const app = new Hono().get(
      '/',
      websocket({ stopping }, async (socket, { stopping }) => {
        await new Promise((resolve) => stopping.addEventListener('abort', resolve))
        await turns(20)
        await socket.send('the last word')
      }),
    )
    await using at = await served(app)
    using client = await WsClient.connect(at.port)
    const stopped = at.running.stop()
    assert.equal(await client.next(), 'the last word')
    assert.equal((await client.end).code, 1001)
    assert.equal((await stopped).clean, true)
  })

  it('W2 delivers what the client sent before its Close, and ends the loop after the iteration it is in', async () => {
    const seen: unknown[] = []
    const iterating = new Gate()
    const goOn = new Gate()
    const app = new Hono().get(
      '/',
      websocket({}, async (socket) => {
        for await (const message of socket) {
          seen.push(message)
          iterating.open()
          await goOn.opened
          seen.push(await socket.send('late'))
        }
        seen.push(socket.closed)
      }),
    )
    const at = await served(app)
    using client = await WsClient.connect(at.port)
    client.ws.send('one')
    await iterating.opened
    client.ws.send('two')
    // What comes before its answer is in the handler's queue by then
    client.ws.ping()
    await within(8_000, once(client.ws, 'pong'), 'the answer to a ping')
    const stopped = at.running.stop()
    assert.equal((await client.end).code, 1001)
    goOn.open()
    assert.equal((await stopped).clean, true)
    assert.deepEqual(seen, ['one', false, 'two', false, { code: 1001, reason: '' }])
  })

  it('W3 awaits the Close of a client 5 s, then ends its connection, counts it and names it', async () => {
    const settled = new Gate()
    const app = new Hono().get(
      '/chat/:room',
      websocket({}, async (socket) => {
        for await (const _ of socket);
        settled.open()
      }),
    )
    const at = await served(app, { gracefulTimeout: '25s' }, { world: fastWorld(10) })
    using silent = await shakenHands(at.port, '/chat/7?token=1234')
    using half = await shakenHands(at.port, '/chat/8')
    // The first half of a large message, and nothing after it
    half.send(`\x81\xfe\x7f\xff\0\0\0\0${'x'.repeat(100)}`)
    const { clean, served: counted, took } = await at.running.stop()
    assert.deepEqual(counted.sockets, { told: 2, lost: 2 })
    assert.equal(clean, true)
    assert.ok(took.draining >= 5_000 && took.draining < 19_000, `drained in ${took.draining} ms`)
    assert.ok(silent.received.endsWith(closeFrame(1001)), 'it was told all the same')
    const lost = at.told.all('socket.lost').map(({ method, url }) => `${method} ${url}`)
    assert.deepEqual(lost.toSorted(), ['GET /chat/7', 'GET /chat/8'])
    const waited = at.told.all('drain.waiting').flatMap((event) => event.for)
    assert.ok(waited.some(({ kind, what }) => kind === 'socket' && what === 'GET /chat/7'))
    await settled.opened
  })

  it('W3 does not wait longer than the grace: what is left at T2 is ended', async () => {
    const app = new Hono().get('/', websocket({}, echo))
    const at = await served(app, { gracefulTimeout: '2s' }, { world: fastWorld(4) })
    using silent = await shakenHands(at.port)
    const { clean, served: counted, took } = await at.running.stop()
    assert.deepEqual([clean, counted.sockets], [true, { told: 1, lost: 1 }])
    assert.ok(took.draining < 5_000, `drained in ${took.draining} ms`)
    await silent.fin()
  })

  it('W3 bounds and names a client that takes nothing any more, in the middle of a large message to it', async () => {
    const { app, stuck, settled } = feed()
    const at = await served(app, { gracefulTimeout: '25s' }, { world: fastWorld(10) })
    using gone = await RawClient.connect(at.port, { holdOpen: true, paused: true })
    gone.send(HANDSHAKE('/feed?token=1234'))
    await stuck.opened
    const { clean, served: counted, took } = await at.running.stop()
    assert.deepEqual([clean, counted.sockets], [true, { told: 1, lost: 1 }])
    assert.ok(took.draining >= 5_000 && took.draining < 19_000, `drained in ${took.draining} ms`)
    assert.equal((await at.told.event('socket.lost')).url, '/feed')
    assert.deepEqual(await settled.opened, { code: 1006, reason: '' })
  })

  it('W2 W3 lets a client have the whole of a large message that it takes slowly, and its Close frame', async () => {
    const { app, stuck } = feed()
    const at = await served(app, { gracefulTimeout: '60s' }, { world: fastWorld(10) })
    using client = await WsClient.connect(at.port, '/feed')
    const { _socket: wire } = client.ws as unknown as { _socket: NetSocket }
    client.ws.pause()
    await stuck.opened
    const stopped = at.running.stop()
    await at.told.event('goodbye.started')
    // What takes 5 s by rule takes 500 ms
    for (let step = 0; step < 4; step++) {
      const before = wire.bytesRead
      client.ws.resume()
      while (wire.bytesRead < before + 1_000_000) await turns(1)
      client.ws.pause()
      await pause(250)
    }
    client.ws.resume()
    assert.equal((await client.end).code, 1001)
    assert.equal((client.messages[0] as Buffer).length, LARGE)
    const { clean, served: counted, took } = await stopped
    assert.deepEqual([clean, counted.sockets], [true, { told: 1, lost: 0 }])
    assert.ok(took.draining > 8_000, `drained in ${took.draining} ms`)
  })

  it('W3 names and counts as cut a handler that does not come to its end', async () => {
    const app = new Hono().get(
      '/',
      websocket({}, () => new Promise<never>(() => {})),
    )
    const at = await served(app, { gracefulTimeout: '2s' }, { world: fastWorld(4) })
    using client = await WsClient.connect(at.port)
    const { clean, served: counted } = await at.running.stop()
    assert.equal((await client.end).code, 1001)
    assert.deepEqual([clean, counted.cut, counted.sockets], [false, 1, { told: 1, lost: 0 }])
    assert.equal((await at.told.event('handler.abandoned')).url, '/')
  })

  it('P1 says goodbye at once when it is forced, and ends what does not return it', async () => {
    const app = new Hono().get(
      '/',
      websocket({ stopping }, async (socket) => {
        for await (const _ of socket);
      }),
    )
    const at = await served(app)
    using client = await WsClient.connect(at.port)
    using silent = await shakenHands(at.port)
    const { clean, served: counted } = await at.running.force()
    assert.deepEqual([clean, counted.sockets], [true, { told: 2, lost: 1 }])
    assert.equal((await client.end).code, 1001)
    assert.ok(silent.received.endsWith(closeFrame(1001)))
  })

  it('W5 answers an upgrade 503 while it drains, and says goodbye to one that was under way', async () => {
    const [entered, accept, hold] = [new Gate(), new Gate(), new Gate()]
    const user = perRequest(async () => {
      entered.open()
      await accept.opened
    })
    const app = new Hono()
      .get('/slow', websocket({ user }, echo))
      .get('/', websocket({}, echo))
      .get('/held', async (c) => {
        await hold.opened
        return c.text('')
      })
    const at = await served(app)
    using early = await RawClient.connect(at.port)
    const held = fetch(`${at.running.url}/held`)
    const slow = WsClient.connect(at.port, '/slow')
    await entered.opened
    const stopped = at.running.stop()
    await at.told.event('service.draining')
    const answer = await early.send(HANDSHAKE('/')).response()
    assert.deepEqual([answer.status, answer.headers['connection']], [503, 'close'])
    accept.open()
    using client = await slow
    assert.equal((await client.end).code, 1001)
    hold.open()
    await (await held).text()
    assert.equal((await stopped).clean, true)
  })

  it('W6 spreads the goodbyes over 1 ms for each client, in no order of theirs, and says how many', async () => {
    const app = new Hono().get('/', websocket({}, echo))
    const at = await served(app)
    const clients = await Promise.all(Array.from({ length: 120 }, () => WsClient.connect(at.port)))
    const began = performance.now()
    const order: number[] = []
    const ends = clients.map(async (client, index) => {
      await once(client.ws, 'close')
      order.push(index)
    })
    const stopped = at.running.stop()
    await Promise.all(ends)
    const took = performance.now() - began
    await stopped
    assert.ok(took >= 90, `all of them within ${took} ms`)
    const pairs = order.flatMap((one, at) => order.slice(at + 1).map((other) => one > other))
    const turned = pairs.filter(Boolean).length / pairs.length
    assert.ok(turned > 0.25 && turned < 0.75, `${turned} of 1 stand the other way round`)
    const { clients: count, code, over } = await at.told.event('goodbye.started')
    assert.deepEqual([count, code, over], [120, 1001, 120])
  })

  it('W6 does not spread them where it is told not to, nor beyond a fifth of the drain', async () => {
    const app = new Hono().get('/', websocket({}, echo))
    const at = await served(app, { gracefulTimeout: '1s' })
    const clients = await Promise.all(Array.from({ length: 110 }, () => WsClient.connect(at.port)))
    const stopped = at.running.stop()
    await Promise.all(clients.map(({ end }) => end))
    await stopped
    const { over } = await at.told.event('goodbye.started')
    assert.ok(over > 0 && over <= 80, `a fifth of 400 ms is ${over} ms`)
    const again = await served(app)
    using client = await WsClient.connect(again.port)
    const { stop } = again.running as unknown as {
      stop(why: string, manner: object): Promise<void>
    }
    await stop.call(again.running, 'reload', { restarts: true, atOnce: true })
    assert.equal((await client.end).code, 1012)
    assert.equal((await again.told.event('goodbye.started')).over, 0)
  })

  it('W7 gives 1,000 clients the message and the code, none 1006, and closes what they use after the last', async () => {
    let written = 0
    let writtenAtClose = 0
    const db = perApp(function* () {
      yield { write: () => void written++ }
      writtenAtClose = written
    })
    const sockets = new Set<Socket>()
    const app = new Hono().get(
      '/',
      websocket({ db }, async (socket, { db }) => {
        sockets.add(socket)
        for await (const _ of socket);
        await turns(2)
        db.write()
      }),
    )
    const at = await served(app, {
      onShutdown: () => {
        for (const one of sockets) void one.send('going away')
      },
    })
    const clients: WsClient[] = []
    while (clients.length < 1_000) {
      const some = Array.from({ length: 100 }, () => WsClient.connect(at.port))
      clients.push(...(await Promise.all(some)))
    }
    const ends = clients.map(({ end }) => end)
    const report = await within(15_000, at.running.stop(), 'the stop')
    const codes = (await Promise.all(ends)).map(({ code }) => code)
    assert.deepEqual(new Set(codes), new Set([1001]))
    assert.ok(clients.every(({ messages }) => messages[0] === 'going away'))
    assert.deepEqual([report.clean, report.served.sockets], [true, { told: 1_000, lost: 0 }])
    assert.deepEqual([written, writtenAtClose], [1_000, 1_000])
  })

  it('W8 ends a connection of which nothing comes, not even an answer to a ping', async () => {
    const gone = new Gate<unknown>()
    const app = new Hono()
      .get(
        '/dead',
        websocket(
          {},
          async (socket) => {
            for await (const _ of socket);
            gone.open(socket.closed)
          },
          { pingEvery: '10s', pingLimit: '20s' },
        ),
      )
      .get('/alive', websocket({}, echo, { pingEvery: '10s', pingLimit: '20s' }))
    await using at = await served(app, {}, { world: fastWorld(20) })
    using alive = await WsClient.connect(at.port, '/alive')
    using dead = await shakenHands(at.port, '/dead')
    assert.deepEqual(await within(8_000, gone.opened), { code: 1006, reason: '' })
    await dead.fin()
    assert.equal(alive.ws.readyState, alive.ws.OPEN)
    alive.ws.send('still here')
    assert.equal(await alive.next(), 'still here')
  })
})

/** More than the kernel takes for a client that does not read. */
const LARGE = 24_000_000

/** A route that sends a large message; told when it does not all fit, and when the handler has heard of the end. */
function feed() {
  const [stuck, settled] = [new Gate(), new Gate<unknown>()]
  const app = new Hono().get(
    '/feed',
    websocket({}, async (socket) => {
      void socket.send(new Uint8Array(LARGE))
      for (let left = 0; left !== socket.buffered;) {
        left = socket.buffered
        await turns(20)
      }
      if (socket.buffered > 0) stuck.open()
      for await (const _ of socket);
      settled.open(socket.closed)
    }),
  )
  return { app, stuck, settled }
}

const HANDSHAKE = (path: string): string =>
  `GET ${path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`

/** A client that says nothing more after its handshake, to nothing. */
async function shakenHands(port: number, path = '/'): Promise<RawClient> {
  const client = await RawClient.connect(port, { holdOpen: true })
  client.send(HANDSHAKE(path))
  await client.sees('\r\n\r\n')
  return client
}

/** As it comes over the wire, without a reason. */
function closeFrame(code: number): string {
  return `\x88\x02${String.fromCharCode(code >> 8, code & 255)}`
}

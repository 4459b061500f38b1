import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { describe, it } from 'node:test'
import { DEFAULT_LIMITS, type Limits } from '../../src/http/limits.ts'
import { uint32, frame, goAwayOf } from '../helpers/frames.ts'
import { realWorld, type World } from '../../src/base/world.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { Http2Client } from '../helpers/http2-client.ts'
import { pause } from '../helpers/pause.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { RawHttp2 } from '../helpers/raw-http2.ts'
import { serving } from '../helpers/serving.ts'
import { byAlpn, byFirstBytes, describeEach } from '../helpers/ways.ts'

const limits = (own: Partial<Limits>): { limits: Partial<Limits> } => ({ limits: own })
const answer = (_: unknown, response: { end(text: string): unknown }): void => {
  response.end('answer')
}

describeEach('limits', ({ serving, connect, isSecure }) => {
  for (const stage of ['service', 'the drain']) {
    it(`X2 answers half a head 408 when it takes too long, in ${stage}`, async () => {
      await using serves = await serving(answer, limits({ headers: 150, request: 150 }))
      using client = await connect(serves.port)
      client.send('GET / HTTP/1.1\r\nHo')
      if (stage === 'the drain') void serves.drain()
      assert.equal((await client.response()).status, 408)
      await client.fin()
    })

    it(`X2 answers half a body 408 when it takes too long, in ${stage}`, async () => {
      const arrived = new Counter()
      const own = limits({ headers: 500, request: 600 })
      await using serves = await serving((request) => {
        arrived.add()
        request.on('error', () => {}).resume()
      }, own)
      using client = await connect(serves.port)
      client.send('POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\nhalf')
      await arrived.reached(1)
      if (stage === 'the drain') void serves.drain()
      assert.equal((await client.response()).status, 408)
      await client.fin()
    })

    it(`X2 cuts a client that does not read, and counts it as left, in ${stage}`, async () => {
      const over = new Gate()
      await using serves = await serving(
        (_, response, exchange) => {
          exchange.whenOver(() => over.open())
          response.end(Buffer.alloc(30_000_000))
        },
        limits({ send: 150 }),
      )
      using client = await connect(serves.port, { paused: true })
      client.request('GET /')
      await once(client.socket, 'readable')
      if (stage === 'the drain') void serves.drain()
      await over.opened
      assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 1, refused: 0 })
    })
  }

  it('X2 cuts a client that does not read, though its handler goes on writing', async () => {
    const over = new Gate()
    await using serves = await serving(
      async (_, response, exchange) => {
        exchange.whenOver(() => over.open())
        while (!response.destroyed) {
          response.write(Buffer.alloc(100_000))
          await pause(2)
        }
      },
      limits({ send: 150 }),
    )
    using client = await connect(serves.port, { paused: true })
    client.request('GET /')
    await over.opened
    assert.equal(serves.server.served.left, 1)
  })

  it('X2 leaves a client alone that reads slowly', async () => {
    await using serves = await serving(
      (_, response) => void response.end(Buffer.alloc(30_000_000)),
      limits({ send: 400 }),
    )
    using client = await connect(serves.port, { paused: true })
    client.request('GET /')
    let size = 0
    const began = performance.now()
    while (size < 30_000_000) {
      const part = client.socket.read() as string | null
      size += part?.length ?? 0
      // About 25 MB a second, so that it takes three times the limit
      await pause(part ? part.length / 25_000 : 5)
      assert.equal(client.ended || client.error !== undefined, false, `cut after ${size} bytes`)
    }
    assert.ok(performance.now() - began > 800, 'it took longer than the limit')
  })

  it('X2 closes a connection on which nothing comes', async () => {
    await using serves = await serving(answer, limits({ headers: 150, request: 150 }))
    using client = await connect(serves.port)
    await client.closed
  })

  it('X2 leaves a handler that is silent for longer alone', async () => {
    const gate = new Gate()
    const [arrived, looks] = [new Counter(), new Counter()]
    const world: World = {
      ...realWorld,
      timer: (ms, run, idle) =>
        realWorld.timer(ms, () => (ms === 12.5 ? looks.add() : undefined, run()), idle),
    }
    await using serves = await serving(
      async (_, response) => {
        arrived.add()
        await gate.opened
        response.end('answer')
      },
      { ...limits({ send: 50 }), world },
    )
    using client = await connect(serves.port)
    client.request('GET /long-poll')
    await arrived.reached(1)
    const before = looks.count
    // The limit three times over
    await looks.reached(before + 12)
    gate.open()
    assert.equal((await client.response()).body, 'answer')
  })

  it('X2 closes an idle connection after its time', async () => {
    await using serves = await serving(answer, limits({ keepAlive: 100 }))
    using client = await connect(serves.port)
    await client.request('GET /').response()
    await client.fin()
  })

  it('H5 shortens the window of those that are idle in a drain, and of those that become idle later', async () => {
    const gate = new Gate()
    await using serves = await serving(async (request, response) => {
      response.flushHeaders()
      if (request.url === '/stream') await gate.opened
      response.end('whole')
    })
    using idle = await connect(serves.port)
    await idle.request('GET /').response()
    using busy = await connect(serves.port)
    busy.request('GET /stream')
    await busy.sees('\r\n\r\n')
    const drained = serves.drain({ idle: 30_000 })
    await serves.event('listener.closed')
    serves.server.shortenIdle(300)
    // Longer windows than there are change nothing
    serves.server.shortenIdle(20_000)
    const shortened = performance.now()
    await idle.fin()
    const took = performance.now() - shortened
    assert.ok(took > 250, `after ${took} ms`)
    gate.open()
    await busy.response()
    assert.equal((await busy.request('GET /').response()).headers.connection, 'close')
    assert.ok((await drained) < 5_000)
  })

  it('H2 keeps no idle connection when its time is 0, and says so', async () => {
    await using serves = await serving(answer, limits({ keepAlive: 0 }))
    using client = await connect(serves.port)
    const { headers } = await client.request('GET /').response()
    assert.deepEqual([headers.connection, headers['keep-alive']], ['close', undefined])
    await client.fin()
    using pipelining = await connect(serves.port)
    pipelining.request('GET /').request('GET /').request('GET /')
    await pipelining.fin()
    const answered = (pipelining.received.match(/answer/g) ?? []).length
    assert.equal(serves.server.served.requests, 1 + answered, 'what is executed is answered')
  })

  it('X2 refuses a head that is too large 431', async () => {
    await using serves = await serving(answer, limits({ headerSize: 2_000 }))
    using client = await connect(serves.port)
    client.send(`GET / HTTP/1.1\r\nHost: t\r\nX: ${'x'.repeat(4_000)}\r\n\r\n`)
    assert.equal((await client.response()).status, 431)
  })

  it('X2 closes what comes beyond the limit of connections, and says so once', async () => {
    await using serves = await serving(answer, limits({ connections: 1 }))
    using client = await connect(serves.port)
    for (let count = 0; count < 3; count++) {
      using beyond = await RawClient.connect(serves.port)
      await beyond.closed
    }
    assert.equal((await client.request('GET /').response()).body, 'answer')
    assert.equal(serves.events.filter(({ type }) => type === 'warning').length, 1)
  })

  it(
    'has a limit for a handshake of which nothing comes',
    { skip: !isSecure && 'there is none without TLS' },
    async () => {
      await using serves = await serving(answer, limits({ headers: 150, request: 150 }))
      using client = await RawClient.connect(serves.port)
      await client.closed
    },
  )
})

for (const { name, serving, isSecure: tls } of [byFirstBytes, byAlpn]) {
  describe(`limits of HTTP/2, ${name}`, () => {
    it('X2 closes an idle session in order after its time', async () => {
      await using serves = await serving(answer, limits({ keepAlive: 150 }))
      using peer = await RawHttp2.connect(serves.port, { tls })
      await peer.body(peer.request('/'))
      assert.equal(goAwayOf(await peer.frame('GOAWAY')).code, 0)
      await peer.client.fin()
    })

    it('G1 keeps no session without a stream when its time is 0', async () => {
      await using serves = await serving(answer, limits({ keepAlive: 0 }))
      using peer = await RawHttp2.connect(serves.port, { tls })
      await peer.body(peer.request('/'))
      assert.equal(goAwayOf(await peer.frame('GOAWAY')).code, 0)
      await peer.client.fin()
    })

    it('X2 says how many streams and how large heads may be', async () => {
      await using serves = await serving(answer, limits({ headerSize: 4_000 }))
      using client = await Http2Client.connect(serves.port, { tls })
      const { maxConcurrentStreams, maxHeaderListSize } = client.session.remoteSettings
      assert.deepEqual([maxConcurrentStreams, maxHeaderListSize], [250, 4_000])
    })

    it('X2 ends a session whose client does not read, after the limit', async () => {
      const over = new Gate()
      await using serves = await serving(
        (_, response, exchange) => {
          exchange.whenOver(() => over.open())
          response.end('x'.repeat(1_000_000))
        },
        limits({ send: 150 }),
      )
      using peer = await RawHttp2.connect(serves.port, { tls })
      const stream = peer.request('/')
      await peer.frame('DATA', stream)
      await over.opened
      assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 1, refused: 0 })
      peer.write(frame('WINDOW_UPDATE', {}, uint32(1)))
    })
  })
}

const TABLE = '/proc/self/net/tcp'
const SKIP = existsSync(TABLE) ? false : 'only where the kernel tells its queues'

it(
  'V1 lets as many wait to be accepted as the backlog says, and one more',
  { skip: SKIP },
  async () => {
    await using serves = await serving(answer, limits({ backlog: 3 }))
    const clients = Array.from({ length: 8 }, () => net.connect(serves.port, '127.0.0.1'))
    // They have connected, and nobody has had the time to accept them
    await new Promise<void>((resolve) => process.nextTick(resolve))
    const port = serves.port.toString(16).toUpperCase().padStart(4, '0')
    const row = new RegExp(`:${port} 00000000:0000 0A 00000000:(\\w+)`).exec(
      readFileSync(TABLE, 'latin1'),
    )
    for (const client of clients) client.destroy()
    assert.equal(Number.parseInt(row![1]!, 16), 4)
  },
)

it('keeps an idle connection longer than balancers do', () => {
  assert.ok(DEFAULT_LIMITS.keepAlive > 60_000)
})

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { fastWorld } from '../helpers/fast-world.ts'
import { describe, it } from 'node:test'
import { Counter, Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serving } from '../helpers/serving.ts'
import { describeEach, plain, type Way } from '../helpers/ways.ts'

/** A server whose handler answers by path, when the gate of that path is opened. */
async function gated({ serving }: Way) {
  const arrived = new Counter()
  const seen: string[] = []
  const gates: Record<string, Gate> = { '/1': new Gate(), '/2': new Gate(), '/3': new Gate() }
  const serves = await serving(async (request, response) => {
    seen.push(request.url!)
    arrived.add()
    await gates[request.url!]?.opened
    response.end(`answer to ${request.url}`)
  })
  return { serves, arrived, seen, gates }
}

describeEach('the last response of a connection', (way) => {
  const { serving, connect } = way
  it('H1 says Connection: close from the first moment of the stop, lame duck included', async () => {
    const { serves, arrived, gates } = await gated(way)
    await using _ = serves
    using idle = await connect(serves.port)
    using busy = await connect(serves.port)
    const before = await idle.request('GET /before').response()
    assert.equal(before.headers.connection, 'keep-alive')
    busy.request('GET /1')
    await arrived.reached(2)

    serves.server.stopping()
    gates['/1']!.open()
    assert.equal((await busy.response()).headers.connection, 'close')
    assert.equal((await idle.request('GET /late').response()).headers.connection, 'close')
    using fresh = await connect(serves.port)
    const answer = await fresh.request('GET /new').response()
    assert.equal(answer.status, 200, 'a lame duck still serves')
    assert.equal(answer.headers.connection, 'close')
    await Promise.all([busy.fin(), idle.fin(), fresh.fin()])
  })

  const ways: Record<string, (response: ServerResponse) => void> = {
    setHeader: (response) => response.setHeader('Connection', 'keep-alive'),
    'an object': (response) => response.writeHead(200, { Connection: 'keep-alive', A: 'b' }),
    'a list': (response) => response.writeHead(200, ['A', 'b', 'Connection', 'keep-alive']),
    pairs: (response) => {
      const pairs = [
        ['Connection', 'keep-alive'],
        ['A', 'b'],
      ] as unknown as string[]
      response.writeHead(200, pairs)
    },
    removal: (response) => response.removeHeader('Connection'),
  }
  for (const [way, write] of Object.entries(ways)) {
    it(`H1 says close though the app said keep-alive by ${way}`, async () => {
      await using serves = await serving((_, response) => {
        write(response)
        response.end('done')
      })
      using client = await connect(serves.port)
      serves.server.stopping()
      const { headers, body } = await client.request('GET /').response()
      if (way !== 'removal') assert.equal(headers.connection, 'close')
      assert.equal(body, 'done')
      await client.fin()
    })
  }

  it('H1 is followed by a half-close where its head was rendered before the stop', async () => {
    const gate = new Gate()
    await using serves = await serving(async (_, response) => {
      response.write('first ')
      await gate.opened
      response.end('last')
    })
    using client = await connect(serves.port)
    client.request('GET /stream')
    await client.sees('first')
    const drained = serves.drain({ idle: 50 })
    await serves.event('listener.closed')
    gate.open()
    const { body, headers } = await client.response()
    assert.equal(body, 'first last')
    assert.equal(headers.connection, 'keep-alive')
    await client.fin()
    await drained
    assert.equal(serves.server.served.cut, 0)
  })

  it('H11 is the one that says close among pipelined ones, and all are answered in order', async () => {
    const { serves, arrived, gates } = await gated(way)
    await using _ = serves
    using client = await connect(serves.port)
    client.request('GET /1').request('GET /2').request('GET /3')
    await arrived.reached(3)
    serves.server.stopping()
    gates['/3']!.open()
    gates['/1']!.open()
    gates['/2']!.open()
    const answers = [await client.response(), await client.response(), await client.response()]
    assert.deepEqual(
      answers.map(({ body, headers }) => [body, headers.connection]),
      [
        ['answer to /1', 'keep-alive'],
        ['answer to /2', 'keep-alive'],
        ['answer to /3', 'close'],
      ],
    )
    await client.fin()
  })

  it('H2 is the last: what is pipelined behind it reaches no handler', async () => {
    const { serves, arrived, seen, gates } = await gated(way)
    await using _ = serves
    using client = await connect(serves.port, { holdOpen: true })
    client.request('GET /1')
    await arrived.reached(1)
    serves.server.stopping()
    gates['/1']!.open()
    assert.equal((await client.response()).headers.connection, 'close')
    client.request('POST /late', 'a body').request('POST /later')
    await client.fin()
    client.socket.end()
    await client.closed
    assert.deepEqual(seen, ['/1'])
    assert.equal(client.received, '')
  })

  it('H2 holds for a close that the app chose, stop or not', async () => {
    const seen: string[] = []
    await using serves = await serving((request, response) => {
      seen.push(request.url!)
      response.setHeader('Connection', 'close').end('bye')
    })
    using client = await connect(serves.port)
    client.send('GET /1 HTTP/1.1\r\nHost: t\r\n\r\nGET /2 HTTP/1.1\r\nHost: t\r\n\r\n')
    await client.response()
    await client.closed
    assert.deepEqual(seen, ['/1'])
  })

  it('H2 holds between the end of that response and the end of its socket', async () => {
    const seen: string[] = []
    const finished = new Gate()
    await using serves = await serving((request, response) => {
      seen.push(request.url!)
      response.on('finish', finished.open)
      response.setHeader('Connection', 'close').end('bye')
    })
    using client = await connect(serves.port)
    client.request('GET /1')
    await finished.opened
    client.request('GET /2')
    await client.closed
    assert.deepEqual(seen, ['/1'])
  })

  it('H2 holds for a request that waits for 100 Continue', async () => {
    const { serves, arrived, seen, gates } = await gated(way)
    await using _ = serves
    using client = await connect(serves.port)
    client.request('GET /1')
    await arrived.reached(1)
    serves.server.stopping()
    gates['/1']!.open()
    await client.response()
    client.send('POST /2 HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n')
    await client.closed
    assert.equal(client.received, '', 'never 100 and then nothing')
    assert.deepEqual(seen, ['/1'])
  })

  it('H12 continues a request that expects it while draining, and serves it', async () => {
    await using serves = await serving(async (request, response) => {
      const body = await request.setEncoding('utf8').toArray()
      response.end(body.join(''))
    })
    using client = await connect(serves.port)
    const drained = serves.drain()
    client.send('POST /2 HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n')
    assert.equal((await client.response()).status, 100)
    const answer = await client.send('four').response()
    assert.equal(answer.body, 'four')
    assert.equal(answer.headers.connection, 'close')
    await drained
  })
})

describe('an app that closes by itself', () => {
  const FORMS: [string, (response: ServerResponse) => void][] = [
    ['setHeader', (response) => void response.setHeader('connection', 'close')],
    ['writeHead', (response) => void response.writeHead(200, { Connection: 'close' })],
    ['writeHead with pairs', (response) => void response.writeHead(200, ['Connection', 'close'])],
  ]
  for (const [form, close] of FORMS) {
    it(`H11 with ${form} has every request of a pipeline answered that its handler has seen`, async () => {
      const gate = new Gate()
      const arrived = new Counter()
      await using serves = await serving(async ({ url }, response) => {
        arrived.add()
        await gate.opened
        close(response)
        response.end(url)
      })
      using client = await RawClient.connect(serves.port)
      client.request('GET /1').request('GET /2').request('GET /3')
      await arrived.reached(3)
      gate.open()
      const answers = [await client.response(), await client.response(), await client.response()]
      assert.deepEqual(
        answers.map(({ body }) => body),
        ['/1', '/2', '/3'],
      )
      assert.equal(answers[2]!.headers['connection'], 'close')
      await client.closed
    })
  }
})

describe('a client that sends no more', () => {
  for (const draining of [false, true]) {
    it(`H9 is answered all that it has asked${draining ? ', while it drains' : ''}`, async () => {
      const { serves, arrived, gates } = await gated(plain)
      await using _ = serves
      using client = await RawClient.connect(serves.port, { holdOpen: true })
      client.request('GET /1').request('GET /2')
      await arrived.reached(2)
      const drained = draining ? serves.drain() : undefined
      client.socket.end()
      gates['/1']!.open()
      assert.equal((await client.response()).body, 'answer to /1')
      gates['/2']!.open()
      assert.equal((await client.response()).body, 'answer to /2')
      await client.fin()
      await drained
      assert.deepEqual(serves.server.served, { requests: 2, cut: 0, left: 0, refused: 0 })
    })
  }

  it('S3 is taken for one that has gone: its signal is aborted, and after 5 s it is not waited for', async () => {
    const aborted = new Gate()
    const over = new Gate()
    await using serves = await serving(
      (_, __, exchange) => {
        exchange.whenOver(() => over.open())
        exchange.signal.addEventListener('abort', () => aborted.open())
      },
      { world: fastWorld(50) },
    )
    using client = await RawClient.connect(serves.port)
    client.request('GET /').socket.end()
    await aborted.opened
    await over.opened
    assert.equal(serves.server.served.left, 1)
  })
})

describe('a connection that ends', () => {
  it('H9 lingers in service, too: what comes behind the last response does not reset it', async () => {
    const size = 1_000_000
    await using serves = await serving((_, response) => {
      response.setHeader('Connection', 'close').end(Buffer.alloc(size, 97))
    })
    for (let left = 20; left > 0; left--) {
      using client = await RawClient.connect(serves.port, { paused: true })
      client.request('GET /')
      await new Promise((resolve) => client.socket.once('readable', resolve))
      client.request('POST /late', 'x'.repeat(100_000))
      client.resume()
      assert.equal((await client.response()).body.length, size)
    }
  })
})

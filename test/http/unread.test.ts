import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { it } from 'node:test'
import type { HttpServerOptions } from '../../src/http/server.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { Gate } from '../helpers/gate.ts'
import { describeEach } from '../helpers/ways.ts'
import { turns, within } from '../helpers/within.ts'

type Handler = HttpServerOptions['handler']

const SIZE = 200_000
const HEAD = `POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ${SIZE}\r\n\r\n`

/** What handlers do with a body that they do not want. */
const LEAVING: Record<string, (request: IncomingMessage) => unknown> = {
  'never touched': () => {},
  'read in part': async (request) => {
    for await (const part of request) if (part) break
  },
  'paused in the middle': async (request) => {
    await once(request, 'data')
    request.pause()
  },
  'made a Web stream that nobody reads': (request) => Readable.toWeb(request),
  'made a Web stream that is cancelled': (request) => Readable.toWeb(request).cancel(),
}

describeEach('a body that its handler leaves', ({ serving, connect }) => {
  for (const [how, leave] of Object.entries(LEAVING)) {
    it(`H11 is read and dropped: ${how}, and the request behind it is answered`, async () => {
      const handler: Handler = async (request, response) => {
        if (request.method === 'POST') await leave(request)
        response.end(request.method)
      }
      await using serves = await serving(handler)
      using client = await connect(serves.port)
      client.send(HEAD + 'x'.repeat(SIZE / 2))
      const first = await client.response()
      assert.deepEqual([first.body, first.headers.connection], ['POST', 'keep-alive'])
      client.send('x'.repeat(SIZE / 2)).request('GET /')
      assert.equal((await client.response()).body, 'GET')
      assert.deepEqual(serves.server.served, { requests: 2, cut: 0, left: 0, refused: 0 })
    })
  }

  it('leaves nothing of itself on a connection that is kept', async () => {
    const listeners = new Set<number>()
    await using serves = await serving((request, response) => {
      if (request.method === 'GET') listeners.add(request.socket.listenerCount('close'))
      response.end(request.method)
    })
    using client = await connect(serves.port)
    for (let count = 0; count < 3; count++) {
      client.send(HEAD + 'x'.repeat(SIZE / 2))
      await client.response()
      client.send('x'.repeat(SIZE / 2)).request('GET /')
      await client.response()
    }
    assert.equal(listeners.size, 1, [...listeners].join(', '))
  })

  it('H2 is announced as the last when it is long and nobody has begun to read it', async () => {
    const seen: string[] = []
    await using serves = await serving((request, response) => {
      seen.push(request.method!)
      response.setHeader('Connection', 'keep-alive').end('no')
    })
    using client = await connect(serves.port, { holdOpen: true })
    client.send('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nhalf')
    assert.equal((await client.response()).headers.connection, 'close')
    await client.fin()
    client.send('x'.repeat(999_996)).request('GET /').socket.end()
    await client.closed
    assert.equal(client.error, undefined, 'what the client still sent is read')
    assert.deepEqual(seen, ['POST'])
  })

  it('keeps the connection of a long body that its handler reads', async () => {
    await using serves = await serving(async (request, response) => {
      let size = 0
      for await (const part of request) size += (part as Buffer).length
      response.end(String(size))
    })
    using client = await connect(serves.port)
    for (const method of ['POST', 'PUT']) {
      client.request(`${method} /`, 'x'.repeat(1_000_000))
      const answer = await client.response()
      assert.deepEqual([answer.body, answer.headers.connection], ['1000000', 'keep-alive'])
    }
  })

  it('X2 is not waited for without end', async () => {
    const answered = new Gate()
    const handler: Handler = (_, response) => {
      response.end('no', () => answered.open())
    }
    await using serves = await serving(handler, { world: fastWorld(100) })
    using client = await connect(serves.port)
    client.send('POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n')
    await answered.opened
    assert.equal((await client.response()).headers.connection, 'keep-alive')
    await client.fin()
    await client.closed
  })

  it('is still read by whoever reads it behind the answer', async () => {
    const { promise, resolve } = Promise.withResolvers<number>()
    await using serves = await serving((request, response) => {
      let size = 0
      request.on('data', (part: Buffer) => (size += part.length))
      request.on('end', () => resolve(size))
      response.end('accepted')
    })
    using client = await connect(serves.port)
    client.send(HEAD + 'x'.repeat(10))
    assert.equal((await client.response()).body, 'accepted')
    client.send('x'.repeat(SIZE - 10))
    assert.equal(await within(5_000, promise, 'the rest of the body'), SIZE)
  })

  it('is read to its end by a handler that has answered before, though it is the last', async () => {
    const { promise, resolve } = Promise.withResolvers<number>()
    const handler: Handler = async (request, response) => {
      let size = 0
      request.on('data', (part: Buffer) => (size += part.length))
      response.end('accepted')
      await once(request, 'end')
      resolve(size)
    }
    await using serves = await serving(handler, { world: fastWorld(20) })
    using client = await connect(serves.port, { holdOpen: true })
    client.send('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nhalf')
    assert.equal((await client.response()).headers.connection, 'close')
    await client.fin()
    for (let left = 4; left > 0; left--) {
      await new Promise((written) => client.socket.write('x'.repeat(249_999), written))
    }
    assert.equal(await within(5_000, promise, 'the rest of the body'), 1_000_000)
  })

  it('is left to the work that was handed over, and dropped behind that', async () => {
    const [go, answered] = [new Gate(), new Gate()]
    let first = ''
    const handler: Handler = async (request, response, exchange) => {
      if (request.method === 'GET') return void response.end('behind')
      const body = Readable.toWeb(request).getReader()
      const work = async (): Promise<void> => {
        await go.opened
        first = Buffer.from((await body.read()).value as Uint8Array).toString('latin1', 0, 4)
      }
      exchange.waitUntil(work())
      // Node drops at once what nobody has touched when the answer leaves
      await turns(1)
      response.end('accepted', () => answered.open())
    }
    await using serves = await serving(handler)
    using client = await connect(serves.port)
    client.send(HEAD + 'body')
    assert.equal((await client.response()).body, 'accepted')
    await answered.opened
    go.open()
    client.send('x'.repeat(SIZE - 4)).request('GET /')
    assert.equal((await client.response()).body, 'behind')
    assert.equal(first, 'body')
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Counter, Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serving } from '../helpers/serving.ts'

/** A server whose handler answers by path when the test says so. */
async function slowly() {
  const arrived = new Counter()
  const over = new Counter()
  const go = new Gate()
  const serves = await serving(async (request, response, exchange) => {
    exchange.whenOver(() => over.add())
    arrived.add()
    await go.opened
    response.end(`answer to ${request.url}`)
  })
  const client = await RawClient.connect(serves.port)
  return { serves, client, arrived, over, go }
}

const CONNECT = 'CONNECT test:443 HTTP/1.1\r\nHost: test\r\n\r\n'

describe('what is no request', () => {
  const wrong: Record<string, [text: string, status: number]> = {
    'a malformed request': ['NONSENSE\r\n\r\n', 400],
    'a head that is too large': [`GET /3 HTTP/1.1\r\nA: ${'b'.repeat(70_000)}\r\n\r\n`, 431],
    'a CONNECT that nobody listens for': [CONNECT, 501],
  }
  for (const [what, [text, status]] of Object.entries(wrong)) {
    it(`X2 answers ${what} ${status}, behind the answers of those before it`, async () => {
      const { serves, client, arrived, over, go } = await slowly()
      await using _ = serves
      using __ = client
      client.request('GET /1').request('GET /2').send(text)
      await arrived.reached(2)
      go.open()
      assert.equal((await client.response()).body, 'answer to /1')
      assert.equal((await client.response()).body, 'answer to /2')
      const last = await client.response()
      assert.deepEqual([last.status, last.headers.connection], [status, 'close'])
      await client.fin()
      await over.reached(2)
      assert.deepEqual(serves.server.served, { requests: 2, cut: 0, left: 0, refused: 0 })
    })

    it(`X2 R10 leaks nothing when a client leaves behind ${what}`, async () => {
      const { serves, client, arrived, over, go } = await slowly()
      await using _ = serves
      client.request('GET /1').request('GET /2').request('GET /3').send(text)
      await arrived.reached(3)
      client.reset()
      await client.closed
      go.open()
      await over.reached(3)
      await serves.drain()
      assert.deepEqual(serves.server.waiting(), [])
    })

    it(`H11 X2 gives the answers before ${what} while it drains`, async () => {
      const { serves, client, arrived, go } = await slowly()
      await using _ = serves
      using __ = client
      client.request('GET /1').request('GET /2').send(text)
      await arrived.reached(2)
      const drained = serves.drain()
      go.open()
      assert.equal((await client.response()).body, 'answer to /1')
      const last = await client.response()
      assert.deepEqual([last.body, last.headers.connection], ['answer to /2', 'close'])
      await client.fin()
      await drained
      assert.deepEqual(serves.server.served, { requests: 2, cut: 0, left: 0, refused: 0 })
    })
  }

  it('X2 answers a body that is malformed in the place of its handler', async () => {
    const arrived = new Counter()
    const failed = new Counter()
    await using serves = await serving(async (request, response) => {
      arrived.add()
      await request.toArray().catch(() => failed.add())
      response.end(`answer to ${request.url}`)
    })
    using client = await RawClient.connect(serves.port)
    client.request('GET /1')
    client.send('POST /2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n')
    assert.equal((await client.response()).body, 'answer to /1')
    assert.equal((await client.response()).status, 400)
    await client.fin()
    client.destroy()
    await failed.reached(1)
  })

  it('X2 leaves the answer to a handler that does not need the body', async () => {
    const { serves, client, arrived, go } = await slowly()
    await using _ = serves
    using __ = client
    client.request('GET /1')
    client.send('POST /2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n')
    await arrived.reached(2)
    go.open()
    assert.equal((await client.response()).body, 'answer to /1')
    assert.equal((await client.response()).body, 'answer to /2')
    await client.fin()
  })

  it('X2 answers what came with `Connection: close`, whatever comes behind it', async () => {
    const { serves, client, arrived, go } = await slowly()
    await using _ = serves
    using __ = client
    client.send(
      'GET /1 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: t\r\n\r\n',
    )
    await arrived.reached(1)
    go.open()
    assert.equal((await client.response()).body, 'answer to /1')
    await client.fin()
    assert.equal(arrived.count, 1)
  })

  it('X2 is for the listener of the app when it has one', async () => {
    const { serves, client } = await slowly()
    await using _ = serves
    using __ = client
    serves.server.server.on('connect', (_request, socket) => socket.end('the app'))
    await client.send(CONNECT).sees('the app')
    await client.fin()
  })
})

describe('HTTP/1.0', () => {
  it('H11 executes nothing behind a request of HTTP/1.0, whose answer ends the connection', async () => {
    const { serves, client, arrived, go } = await slowly()
    await using _ = serves
    using __ = client
    const request = 'GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'
    client.send(request + request)
    await arrived.reached(1)
    go.open()
    await client.fin()
    assert.match(client.received, /Connection: close\r\n[^]*answer to \/1$/)
    assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
  })

  it('H2 serves what comes while the scope of the answer before it is still being closed', async () => {
    const closing = new Gate()
    await using serves = await serving((_, response, exchange) => {
      exchange.whenOver(() => closing.opened)
      response.setHeader('Content-Length', 2).end('ok')
    })
    using client = await RawClient.connect(serves.port)
    for (let left = 2; left > 0; left--) {
      client.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
      assert.equal((await client.response()).headers.connection, 'keep-alive')
    }
    closing.open()
  })

  it('keeps a connection of HTTP/1.0 whose requests wait for each other', async () => {
    await using serves = await serving((_, response) => {
      response.setHeader('Content-Length', 2).end('ok')
    })
    using client = await RawClient.connect(serves.port)
    for (let left = 3; left > 0; left--) {
      const { headers } = await client
        .send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
        .response()
      assert.equal(headers.connection, 'keep-alive')
    }
  })
})

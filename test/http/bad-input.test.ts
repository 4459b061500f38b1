import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Ended } from '../../src/http/exchange.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { describeEach } from '../helpers/ways.ts'

describeEach('bad input', ({ serving, connect }) => {
  const bad: Record<string, [text: string, status: number]> = {
    'a malformed request': ['NONSENSE\r\n\r\n', 400],
    'a request without a host': ['GET / HTTP/1.1\r\n\r\n', 400],
    'headers that are too large': [`GET / HTTP/1.1\r\nA: ${'b'.repeat(40_000)}\r\n\r\n`, 431],
    'an expectation that nobody knows': ['GET / HTTP/1.1\r\nHost: t\r\nExpect: more\r\n\r\n', 417],
  }
  for (const [what, [text, status]] of Object.entries(bad)) {
    for (const stopping of [false, true]) {
      it(`X2 answers ${what} ${status}${stopping ? ', while stopping too' : ''}`, async () => {
        await using serves = await serving((_, response) => void response.end('fine'))
        using client = await connect(serves.port)
        if (stopping) serves.server.stopping()
        assert.equal((await client.send(text).response()).status, status)
        using other = await connect(serves.port)
        assert.equal((await other.request('GET /').response()).status, 200)
        client.destroy()
        other.destroy()
        await serves.drain()
        assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
      })
    }
  }

  it('X2 leaks nothing when a client vanishes in the middle of its body', async () => {
    const arrived = new Counter()
    const over = new Gate<Ended>()
    await using serves = await serving(async (request, response, exchange) => {
      exchange.whenOver(over.open)
      arrived.add()
      await request.toArray()
      response.end()
    })
    using client = await connect(serves.port)
    client.send('POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nhalf')
    await arrived.reached(1)
    client.reset()
    assert.equal((await over.opened).failed, true)
    assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 1, refused: 0 })
    assert.deepEqual(serves.events, [])
    assert.ok((await serves.drain()) < 500)
    assert.deepEqual(serves.server.waiting(), [])
  })

  it('X2 leaks nothing when a client vanishes in the middle of its response', async () => {
    const over = new Gate<Ended>()
    await using serves = await serving((_, response, exchange) => {
      exchange.whenOver(over.open)
      response.write(Buffer.alloc(10_000_000))
      response.end()
    })
    using client = await connect(serves.port, { paused: true })
    client.request('GET /')
    await new Promise((resolve) => client.socket.once('readable', resolve))
    client.reset()
    assert.deepEqual(await over.opened, { failed: false, status: 200 })
    assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 1, refused: 0 })
    assert.ok((await serves.drain()) < 500)
    assert.deepEqual(serves.server.waiting(), [])
  })

  it('X2 leaks nothing when a client vanishes with requests in its pipeline', async () => {
    const arrived = new Counter()
    const over = new Counter()
    await using serves = await serving((_, __, exchange) => {
      exchange.whenOver(() => over.add())
      arrived.add()
    })
    using client = await connect(serves.port)
    client.request('GET /1').request('GET /2').request('GET /3')
    await arrived.reached(3)
    client.reset()
    await over.reached(3)
    await serves.drain()
    assert.deepEqual(serves.server.waiting(), [])
    assert.deepEqual(serves.server.served, { requests: 3, cut: 0, left: 3, refused: 0 })
  })

  it('X2 tells of a connection that could not be accepted, and goes on', async () => {
    await using serves = await serving((_, response) => void response.end('fine'))
    const tooMany = Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' })
    serves.server.server.emit('error', tooMany)
    assert.equal((await serves.event('error')).error, tooMany)
    using client = await connect(serves.port)
    assert.equal((await client.request('GET /').response()).status, 200)
  })
})

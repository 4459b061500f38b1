import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { Counter } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serving } from '../helpers/serving.ts'
import { blockLoop, turns } from '../helpers/within.ts'

// What others lose every time, or every other time: each as often as it takes to tell luck from keeping a promise.

describe('nothing is lost', () => {
  it('H4 of 20 MB that were ended but not flushed, 20 times of 20', async () => {
    const size = 20_000_000
    const body = Buffer.alloc(size, 97)
    for (let trial = 0; trial < 20; trial++) {
      await using serves = await serving((_, response) => void response.end(body))
      using client = await RawClient.connect(serves.port, { paused: true })
      let received = 0
      client.request('GET /')
      await once(client.socket, 'readable')
      const drained = serves.drain({ idle: 50 })
      await serves.event('listener.closed')
      client.socket.on('data', (text: string) => (received += text.length))
      await client.closed
      assert.ok(received > size, `trial ${trial}: ${received} bytes`)
      await drained
      assert.equal(serves.server.served.cut, 0)
    }
  })

  it('H9 of 1 MB with a late request behind it, 30 times of 30', async () => {
    const size = 1_000_000
    const body = Buffer.alloc(size, 97)
    for (let trial = 0; trial < 30; trial++) {
      const arrived = new Counter()
      await using serves = await serving(async (_, response) => {
        arrived.add()
        await turns(20)
        response.end(body)
      })
      using client = await RawClient.connect(serves.port)
      client.request('GET /')
      await arrived.reached(1)
      const drained = serves.drain()
      await client.sees('aaaa')
      client.request('POST /late', 'x'.repeat(10_000))
      const { body: received } = await client.response()
      assert.equal(received.length, size, `trial ${trial}`)
      await client.fin()
      await drained
      assert.equal(arrived.count, 1, 'the late one has reached no handler')
    }
  })

  it('H6 of a request in the buffer of the kernel, 20 times of 20', async () => {
    for (let trial = 0; trial < 20; trial++) {
      await using serves = await serving((_, response) => void response.end('answer'))
      using idle = await RawClient.connect(serves.port)
      await idle.request('GET /').response()
      using fresh = await RawClient.connect(serves.port)
      await turns(3)
      idle.request('POST /', 'in the buffer')
      fresh.request('POST /', 'in the buffer')
      // Both have been written, and nobody has read them when the stop begins
      await new Promise((written) => fresh.socket.write('', written))
      blockLoop(5)
      const drained = serves.drain({ idle: 10 })
      for (const client of [idle, fresh]) assert.equal((await client.response()).status, 200)
      await drained
    }
  })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { it } from 'node:test'
import { fastWorld } from '../helpers/fast-world.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { describeEach } from '../helpers/ways.ts'
import { blockLoop, turns } from '../helpers/within.ts'

const answer = (_: unknown, response: ServerResponse): void => void response.end('answer')

describeEach('drain()', ({ serving, connect, isSecure }) => {
  it('H17 takes no time when nothing is under way and no connection is open', async () => {
    await using serves = await serving(answer)
    using client = await connect(serves.port)
    await client.request('GET /').response()
    client.destroy()
    await client.closed
    const took = await serves.drain()
    assert.ok(took < 500, `took ${took} ms`)
    assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
  })

  it('gives every caller the same promise', async () => {
    await using serves = await serving(answer)
    await Promise.all([serves.drain(), serves.drain(), serves.drain()])
    assert.equal(serves.events.filter(({ type }) => type === 'listener.closed').length, 1)
  })

  it('H3 closes the listener only when the queue of the kernel is empty', async () => {
    await using serves = await serving(answer)
    // Handshakes take their time, and the queue is waited for a second at most
    const many = isSecure ? 30 : 100
    const connecting = Array.from({ length: many }, () => connect(serves.port))
    await Promise.resolve()
    const drained = new Promise((resolve) => process.nextTick(() => resolve(serves.drain())))
    const clients = await Promise.all(connecting)
    const answers = clients.map((client) => client.request('GET /').response())
    for (const { status } of await Promise.all(answers)) assert.equal(status, 200)
    await drained
    assert.equal(serves.server.served.requests, many)
  })

  it('H4 lets an ended but unflushed 20 MB response through', async () => {
    const size = 20_000_000
    await using serves = await serving((_, response) => void response.end(Buffer.alloc(size, 97)))
    using client = await connect(serves.port, { paused: true })
    client.request('GET /')
    await new Promise((resolve) => client.socket.once('readable', resolve))
    const drained = serves.drain()
    await serves.event('listener.closed')
    client.resume()
    await client.closed
    assert.equal(client.received.length - client.received.indexOf('\r\n\r\n') - 4, size)
    await drained
    assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
  })

  it('H10 cuts no response that was written whole in the moment of T2', async () => {
    const force = new AbortController()
    const arrived = new Counter()
    const gate = new Gate()
    await using serves = await serving(async (_, response) => {
      arrived.add()
      await gate.opened
      response.end('in the last moment')
      // Before Node tells that the kernel has it
      force.abort()
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    const drained = serves.drain({ force: force.signal })
    gate.open()
    assert.equal((await client.response()).body, 'in the last moment')
    client.destroy()
    await drained
    assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
  })

  it("H4 ends the server's own interval, so that a drained server is not held for ever", async () => {
    await using serves = await serving(answer)
    const { server } = serves.server
    const symbols = Object.getOwnPropertySymbols(server)
    const name = symbols.find(({ description }) => description?.endsWith('CheckingInterval'))!
    const { [name]: interval } = server as unknown as Record<symbol, { _destroyed: boolean }>
    assert.equal(interval!._destroyed, false)
    await serves.drain()
    assert.equal(interval!._destroyed, true)
  })

  it('H5 gives an idle connection one last response', async () => {
    await using serves = await serving(answer)
    using client = await connect(serves.port)
    await client.request('GET /').response()
    const drained = serves.drain({ idle: 5_000 })
    await serves.event('listener.closed')
    const last = await client.request('GET /').response()
    assert.equal(last.status, 200)
    assert.equal(last.headers.connection, 'close')
    assert.ok((await drained) < 2_000, 'over as soon as no connection is left')
  })

  it('H5 half-closes an idle connection when its window is over, and ends with it', async () => {
    await using serves = await serving(answer)
    using client = await connect(serves.port)
    await client.request('GET /').response()
    const took = await serves.drain({ idle: 100 })
    await client.fin()
    assert.equal(client.error, undefined)
    assert.ok(took >= 95 && took < 600, `took ${took} ms`)
  })

  it('H5 gives a connection its window from the moment when it became idle', async () => {
    const gate = new Gate()
    await using serves = await serving(async (request, response) => {
      response.flushHeaders()
      if (request.url === '/stream') await gate.opened
      response.end('whole')
    })
    using client = await connect(serves.port)
    client.request('GET /stream')
    await client.sees('\r\n\r\n')
    const drained = serves.drain({ idle: 300 })
    await serves.event('listener.closed')
    blockLoop(350)
    gate.open()
    await client.response()
    blockLoop(20)
    await turns(10)
    assert.equal((await client.request('GET /').response()).headers.connection, 'close')
    await drained
  })

  it('H5 answers what was in the buffer of the kernel when the window was over', async () => {
    await using serves = await serving(answer)
    using client = await connect(serves.port)
    await client.request('GET /').response()
    const drained = serves.drain({ idle: 50 })
    await serves.event('listener.closed')
    client.request('GET /')
    blockLoop(100)
    assert.equal((await client.response()).body, 'answer')
    await drained
  })

  it('H6 answers a request on a connection on which nothing had arrived yet', async () => {
    await using serves = await serving(answer)
    using client = await connect(serves.port)
    const drained = serves.drain({ idle: 0 })
    await serves.event('listener.closed')
    const { body, headers } = await client.request('GET /').response()
    assert.equal(body, 'answer')
    assert.equal(headers.connection, 'close')
    await drained
  })

  it('H6 closes a connection on which nothing arrives after 5 s, not before', async () => {
    await using serves = await serving(answer, { world: fastWorld(20) })
    using client = await connect(serves.port)
    const took = await serves.drain({ idle: 0 })
    await client.fin()
    assert.ok(took >= 240 && took < 900, `took ${took} ms, twenty times as fast`)
  })

  it('H6 closes a connection on which nothing arrives at T1, if that comes first', async () => {
    await using serves = await serving(answer)
    using client = await connect(serves.port)
    const took = await serves.drain({ t1: 50 })
    await client.fin()
    assert.ok(took >= 45 && took < 600, `took ${took} ms`)
  })

  it('H7 lets half a head complete', async () => {
    await using serves = await serving(answer)
    using client = await connect(serves.port)
    await client.request('GET /').response()
    const drained = serves.drain({ idle: 50 })
    client.send('GET /half HTTP/1.1\r\nHo')
    await serves.event('listener.closed')
    const window = serves.drain()
    await Promise.race([window, idleWindow()])
    const { body, headers } = await client.send('st: test\r\n\r\n').response()
    assert.equal(body, 'answer')
    assert.equal(headers.connection, 'close')
    await drained
  })

  it('H7 answers half a head that does not complete 408, and closes', async () => {
    await using serves = await serving(answer, { world: fastWorld(20) })
    using client = await connect(serves.port)
    client.send('GET /half HTTP/1.1\r\nHo')
    const took = await serves.drain({ idle: 0 })
    assert.equal((await client.response()).status, 408)
    await client.fin()
    assert.ok(took >= 240 && took < 900, `took ${took} ms, twenty times as fast`)
    assert.deepEqual(serves.server.served, { requests: 0, cut: 0, left: 0, refused: 0 })
  })

  it('H7 closes without a 408 where only the rest of an answered body is missing', async () => {
    await using serves = await serving(answer, { world: fastWorld(20) })
    using client = await connect(serves.port)
    client.send('POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\nhalf')
    assert.equal((await client.response()).body, 'answer')
    const took = await serves.drain({ idle: 0 })
    await client.fin()
    assert.equal(client.received, '')
    assert.ok(took >= 240 && took < 900, `took ${took} ms, twenty times as fast`)
  })

  it('H7 lets half a body complete', async () => {
    const arrived = new Counter()
    await using serves = await serving(async (request, response) => {
      arrived.add()
      response.end((await request.setEncoding('utf8').toArray()).join(''))
    })
    using client = await connect(serves.port)
    client.send('POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 8\r\n\r\nhalf')
    await arrived.reached(1)
    const drained = serves.drain({ idle: 0 })
    await serves.event('listener.closed')
    assert.equal((await client.send('full').response()).body, 'halffull')
    await drained
  })

  it('H8 waits for a handler that is out after its response is over', async () => {
    const gate = new Gate()
    let settled = false
    await using serves = await serving(async (_, response) => {
      response.end('answer')
      await gate.opened
      settled = true
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    const drained = serves.drain({ idle: 0 })
    await serves.event('listener.closed')
    assert.deepEqual(
      serves.server.waiting().map(({ kind, what }) => [kind, what]),
      [['handler', 'GET /']],
    )
    blockLoop(20)
    await turns(10)
    assert.equal(client.ended, false)
    gate.open()
    await client.fin()
    assert.equal(settled, true, 'the connection is not idle before that')
    await drained
  })

  it('H9 lingers: a late request does not make the kernel drop the tail of a response', async () => {
    const gate = new Gate()
    await using serves = await serving(async (_, response) => {
      await gate.opened
      response.end(Buffer.alloc(1_000_000, 97))
    })
    using client = await connect(serves.port, { paused: true, holdOpen: true })
    client.request('GET /')
    const drained = serves.drain({ idle: 0 })
    await serves.event('listener.closed')
    gate.open()
    await new Promise((resolve) => client.socket.once('readable', resolve))
    client.request('POST /late', 'x'.repeat(100_000)).resume()
    const { body } = await client.response()
    assert.equal(body.length, 1_000_000)
    await client.fin()
    client.request('POST /later', 'x'.repeat(100_000)).socket.end()
    await client.closed
    assert.equal(client.error, undefined)
    await drained
  })

  it('H9 discards the rest of a body that its handler has stopped reading', async () => {
    await using serves = await serving(async (request, response) => {
      await once(request, 'data')
      request.pause()
      response.end(Buffer.alloc(1_000_000, 97))
    })
    serves.server.stopping()
    using client = await connect(serves.port, { paused: true, holdOpen: true })
    client.request('POST /', 'x'.repeat(20_000_000))
    await new Promise((resolve) => client.socket.once('readable', resolve))
    client.resume()
    assert.equal((await client.response()).body.length, 1_000_000)
    await client.fin()
    client.socket.end()
    await client.closed
    assert.equal(client.error, undefined)
    await serves.drain()
  })

  it('H9 lingers no longer than 2 s for a client that holds its side open for ever', async () => {
    await using serves = await serving(answer, { world: fastWorld(10) })
    using client = await connect(serves.port, { holdOpen: true })
    await client.request('GET /').response()
    const took = await serves.drain({ idle: 0 })
    assert.equal(client.ended, true)
    assert.ok(took >= 190 && took < 700, `took ${took} ms, ten times as fast`)
    assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
  })

  it('H13 refuses new connections once the listener is closed, while a request is under way', async () => {
    const gate = new Gate()
    await using serves = await serving(async (_, response) => {
      await gate.opened
      response.end('answer')
    })
    using client = await connect(serves.port)
    client.request('GET /')
    const drained = serves.drain()
    await serves.event('listener.closed')
    await assert.rejects(connect(serves.port), { code: 'ECONNREFUSED' })
    gate.open()
    assert.equal((await client.response()).body, 'answer')
    await drained
  })

  it('H15 ends a chunked response with its last chunk', async () => {
    const gate = new Gate()
    await using serves = await serving(async (_, response) => {
      response.write('one ')
      await gate.opened
      response.write('two ')
      response.end('three')
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await client.sees('one ')
    const drained = serves.drain({ idle: 0 })
    await serves.event('listener.closed')
    gate.open()
    await client.closed
    assert.match(client.received, /three\r\n0\r\n\r\n$/)
    await drained
  })

  it('leaves no timer behind that would keep the process alive', async () => {
    const timers = (): number => {
      return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    }
    await using serves = await serving(answer)
    using idle = await connect(serves.port)
    using fresh = await connect(serves.port)
    await idle.request('GET /').response()
    const before = timers()
    await serves.drain({ t1: 50, t2: 60_000, cleanup: 90_000, idle: 20 })
    await Promise.all([idle.closed, fresh.closed])
    assert.equal(timers(), before)
  })

  it('P6 can say what it waits for', async () => {
    const gate = new Gate()
    await using serves = await serving(async (_, response, exchange) => {
      exchange.waitUntil(gate.opened)
      await gate.opened
      response.end('answer')
    })
    using busy = await connect(serves.port)
    using idle = await connect(serves.port)
    busy.request('POST /orders?token=secret', 'body')
    idle.send('GET /half')
    const drained = serves.drain()
    await serves.event('listener.closed')
    const waiting = serves.server.waiting()
    assert.deepEqual(
      waiting.map(({ kind, what }) => [kind, what]),
      [
        ['request', 'POST /orders'],
        ['connection', '127.0.0.1 (receiving)'],
        ['background', 'POST /orders'],
      ],
    )
    assert.ok(waiting.every(({ age }) => age >= 0 && age < 5_000))
    gate.open()
    idle.destroy()
    await drained
    assert.deepEqual(serves.server.waiting(), [])
  })
})

/** Longer than the window that the test gave; blocks, so that nothing else happens in it. */
function idleWindow(): Promise<void> {
  blockLoop(80)
  return Promise.resolve()
}

import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { isStewardError } from '../../src/base/errors.ts'
import type { Exchange } from '../../src/http/exchange.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { serving } from '../helpers/serving.ts'
import { describeEach } from '../helpers/ways.ts'
import { turns } from '../helpers/within.ts'

describeEach('the end of the grace', ({ serving, connect }) => {
  it('H10 cuts no response before T2', async () => {
    const arrived = new Counter()
    const gate = new Gate()
    await using serves = await serving(async (_, response, exchange) => {
      arrived.add()
      exchange.signal.addEventListener('abort', () => gate.open())
      await gate.opened
      response.end('in the last moment')
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    await serves.drain({ t1: 50, t2: 5_000 })
    assert.equal((await client.response()).body, 'in the last moment')
    assert.equal(serves.server.served.cut, 0)
  })

  it('H10 answers 503 at T2 where no head was sent, and counts and names it', async () => {
    const arrived = new Counter()
    const gate = new Gate()
    await using serves = await serving(async (_, response) => {
      response.setHeader('X-Secret', 'of the app')
      response.setHeader('Content-Length', '5')
      arrived.add()
      await gate.opened
    })
    using client = await connect(serves.port)
    client.request('GET /slow?token=secret')
    await arrived.reached(1)
    const drained = serves.drain({ t1: 30, t2: 60 })
    const { status, headers, body } = await client.response()
    assert.equal(status, 503)
    assert.equal(headers.connection, 'close')
    assert.ok(Number(headers['retry-after']) > 0)
    assert.equal(headers['x-secret'], undefined)
    assert.ok(headers.date)
    assert.equal(body, 'Service Unavailable\n')
    await client.fin()
    const { method, url, answered, age } = await serves.event('request.cut')
    assert.deepEqual({ method, url, answered }, { method: 'GET', url: '/slow', answered: true })
    assert.ok(age >= 50)
    gate.open()
    await drained
    assert.deepEqual(serves.server.served, { requests: 1, cut: 1, left: 0, refused: 0 })
  })

  it('H10 detaches a response that it answered: the app can write, and nothing happens', async () => {
    const arrived = new Counter()
    const gate = new Gate()
    const tries: unknown[] = []
    const late = new Gate()
    await using serves = await serving(async (_, response) => {
      arrived.add()
      const { write } = response
      response.once('prefinish', () => write.call(response, 'by the original method', 'utf8'))
      await gate.opened
      tries.push(tryAll(response))
      await new Promise<void>((resolve) => response.end('late', resolve))
      late.open()
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    const drained = serves.drain({ t1: 20, t2: 40 })
    assert.equal((await client.response()).status, 503)
    gate.open()
    await late.opened
    await drained
    assert.deepEqual(tries, ['nothing thrown'])
    assert.equal(client.received, '')
  })

  it('H10 cuts at T2 where a head was sent', async () => {
    const gate = new Gate()
    await using serves = await serving(async (_, response) => {
      response.write('begun ')
      await gate.opened
    })
    using client = await connect(serves.port)
    client.request('GET /stream')
    await client.sees('begun')
    const drained = serves.drain({ t1: 20, t2: 40 })
    const { url, answered } = await serves.event('request.cut')
    assert.deepEqual([url, answered], ['/stream', false])
    gate.open()
    await client.closed
    assert.ok(!client.received.endsWith('0\r\n\r\n'), 'it must not look complete')
    await drained
    assert.deepEqual(serves.server.served, { requests: 1, cut: 1, left: 0, refused: 0 })
  })

  it('H10 answers what is still waiting in a pipeline in order, close on the last', async () => {
    const arrived = new Counter()
    const gate = new Gate()
    await using serves = await serving(async () => {
      arrived.add()
      await gate.opened
    })
    using client = await connect(serves.port)
    client.request('GET /1').request('GET /2')
    await arrived.reached(2)
    const drained = serves.drain({ t1: 20, t2: 40 })
    const answers = [await client.response(), await client.response()]
    assert.deepEqual(
      answers.map(({ status, headers }) => [status, headers.connection]),
      [
        [503, 'keep-alive'],
        [503, 'close'],
      ],
    )
    gate.open()
    await drained
    assert.equal(serves.server.served.cut, 2)
  })

  it('aborts the signal at T1 with ERR_GRACE_SPENT, also for who asks late', async () => {
    const arrived = new Counter()
    let exchange: Exchange | undefined
    const gate = new Gate()
    const reason = new Gate<unknown>()
    await using serves = await serving(async (request, response, ex) => {
      if (request.url === '/late') exchange = ex
      else ex.signal.addEventListener('abort', () => reason.open(ex.signal.reason))
      arrived.add()
      await gate.opened
      response.end()
    })
    using first = await connect(serves.port)
    using second = await connect(serves.port)
    first.request('GET /')
    second.request('GET /late')
    await arrived.reached(2)
    const drained = serves.drain({ t1: 30 })
    assert.ok(isStewardError(await reason.opened, 'ERR_GRACE_SPENT'))
    assert.equal(exchange!.signal.aborted, true)
    assert.ok(isStewardError(exchange!.signal.reason, 'ERR_GRACE_SPENT'))
    gate.open()
    await drained
  })

  it('has an aborted signal for a request that begins after T1', async () => {
    const arrived = new Counter()
    const gate = new Gate()
    const spent = new Gate()
    const reasons: unknown[] = []
    await using serves = await serving(async (_, response, { signal }) => {
      signal.addEventListener('abort', () => spent.open())
      arrived.add()
      await gate.opened
      reasons.push(signal.reason)
      response.end()
    })
    using client = await connect(serves.port)
    client.request('GET /1')
    await arrived.reached(1)
    const drained = serves.drain({ t1: 20, t2: 5_000 })
    await spent.opened
    client.request('GET /2')
    await arrived.reached(2)
    gate.open()
    await drained
    assert.deepEqual(
      reasons.map((reason) => isStewardError(reason, 'ERR_GRACE_SPENT')),
      [true, true],
    )
  })

  it('waits for the cleanups of handlers after T2, and abandons and names those that stay', async () => {
    const arrived = new Counter()
    const gate = new Gate()
    const closed: string[] = []
    await using serves = await serving(async (request, response, exchange) => {
      arrived.add()
      exchange.whenOver(() => void closed.push(request.url!))
      if (request.url === '/stuck') await new Promise(() => {})
      else await gate.opened
      void response
    })
    using quick = await connect(serves.port)
    using stuck = await connect(serves.port)
    quick.request('GET /quick')
    stuck.request('GET /stuck')
    await arrived.reached(2)
    const drained = serves.drain({ t1: 20, t2: 40, cleanup: 400 })
    await serves.event('request.cut')
    gate.open()
    const took = await drained
    assert.deepEqual(closed, ['/quick'])
    const abandoned = serves.events.filter(({ type }) => type === 'handler.abandoned')
    assert.deepEqual(
      abandoned.map((event) => 'url' in event && event.url),
      ['/stuck'],
    )
    assert.ok(took >= 390 && took < 1_000, `took ${took} ms`)
    assert.equal(serves.server.served.cut, 2, 'each is counted once')
  })

  it('abandons and counts a handler whose response went out long ago', async () => {
    await using serves = await serving(async (_, response) => {
      response.end('answer')
      await new Promise(() => {})
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    await serves.drain({ t1: 20, t2: 40, cleanup: 60 })
    assert.deepEqual(serves.server.served, { requests: 1, cut: 1, left: 0, refused: 0 })
    assert.equal((await serves.event('handler.abandoned')).url, '/')
  })

  it('parts at T2 with a client that has its response, though its handler is still out', async () => {
    await using serves = await serving(async (_, response) => {
      response.end('answer')
      await new Promise(() => {})
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    const drained = serves.drain({ t1: 20, t2: 40, cleanup: 400 })
    await client.fin()
    assert.equal(
      serves.events.some(({ type }) => type === 'handler.abandoned'),
      false,
    )
    await drained
  })

  it('keeps the reason of T1 for a signal that is asked for after the cut', async () => {
    const asked = new Gate<unknown>()
    await using serves = await serving((_, response, exchange) => {
      exchange.whenOver(() => asked.open(exchange.signal.reason))
      response.write('begun')
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await client.sees('begun')
    await serves.drain({ t1: 20, t2: 40 })
    assert.ok(isStewardError(await asked.opened, 'ERR_GRACE_SPENT'))
  })

  it('waits for background work, and says so when it gives it up', async () => {
    const gate = new Gate()
    await using serves = await serving((request, response, exchange) => {
      exchange.waitUntil(request.url === '/ends' ? gate.opened : new Promise(() => {}))
      response.end()
    })
    using client = await connect(serves.port)
    await client.request('GET /ends').response()
    await client.request('GET /stays').response()
    client.destroy()
    const drained = serves.drain({ t1: 20, t2: 40, cleanup: 60 })
    gate.open()
    await drained
    assert.match((await serves.event('warning')).message, /GET \/stays/)
    assert.equal(serves.events.filter(({ type }) => type === 'warning').length, 1)
    assert.equal(serves.server.served.cut, 0)
  })

  it('P1 skips to T2 when it is forced, and still awaits the cleanups', async () => {
    const force = new AbortController()
    const arrived = new Counter()
    let cleaned = false
    await using serves = await serving(async (_, __, exchange) => {
      arrived.add()
      await new Promise((resolve) => exchange.signal.addEventListener('abort', resolve))
      await new Promise((resolve) => setImmediate(resolve))
      cleaned = true
    })
    using client = await connect(serves.port)
    using idle = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    const drained = serves.drain({ idle: 60_000, force: force.signal })
    await serves.event('listener.closed')
    force.abort()
    assert.equal((await client.response()).status, 503)
    await idle.fin()
    const took = await drained
    assert.equal(cleaned, true)
    assert.ok(took < 1_000, `took ${took} ms`)
  })

  it('H10 answers what arrives after T2 503, without a handler', async () => {
    const arrived = new Counter()
    await using serves = await serving(async (_, __, exchange) => {
      arrived.add()
      await new Promise((resolve) => exchange.signal.addEventListener('abort', resolve))
    })
    using busy = await connect(serves.port)
    busy.request('GET /')
    await arrived.reached(1)
    const force = AbortSignal.abort()
    const late = connect(serves.port)
    await turns(0)
    const drained = serves.drain({ force })
    using client = await late
    assert.equal((await client.request('GET /late').response()).status, 503)
    assert.equal((await busy.response()).status, 503)
    await drained
    assert.equal(arrived.count, 1)
    assert.deepEqual(serves.server.served, { requests: 1, cut: 2, left: 0, refused: 0 })
  })

  it('close() ends everything at once', async () => {
    const arrived = new Counter()
    await using serves = await serving(() => {
      arrived.add()
      return new Promise(() => {})
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    await serves.server.close()
    await client.closed
    await assert.rejects(connect(serves.port), { code: 'ECONNREFUSED' })
  })
})

function tryAll(response: ServerResponse): string {
  response.setHeader('a', 'b')
  response.writeHead(200, { a: 'b' })
  response.flushHeaders()
  response.write('x')
  response.removeHeader('a')
  response.appendHeader('a', 'b')
  response.writeEarlyHints({ link: '</a>; rel=preload' })
  response.addTrailers({ a: 'b' })
  response.destroy()
  return 'nothing thrown'
}

describe('what is cut of a pipeline', () => {
  it('H10 H11 answers what comes before one whose head has left, and names the rest without an answer', async () => {
    const arrived = new Counter()
    await using serves = await serving(({ url }, response) => {
      arrived.add()
      if (url === '/streams') response.write('a part')
    })
    using client = await RawClient.connect(serves.port)
    client.request('GET /1').request('GET /streams').request('GET /3')
    await arrived.reached(3)
    await serves.drain({ t1: 10, t2: 20 })
    assert.equal((await client.response()).status, 503)
    await client.fin()
    const cuts = serves.events.filter((event) => event.type === 'request.cut')
    const told = cuts.map(({ url, answered }) => [url, answered])
    assert.deepEqual(told, [
      ['/1', true],
      ['/streams', false],
      ['/3', false],
    ])
  })

  it('H10 lets an answer leave that is whole behind one that is refused', async () => {
    const arrived = new Counter()
    await using serves = await serving(({ url }, response) => {
      arrived.add()
      if (url === '/2') response.end('whole')
    })
    using client = await RawClient.connect(serves.port)
    client.request('GET /1').request('GET /2')
    await arrived.reached(2)
    await serves.drain({ t1: 10, t2: 20 })
    assert.equal((await client.response()).status, 503)
    assert.equal((await client.response()).body, 'whole')
    assert.equal(serves.server.served.cut, 1)
  })

  it('H10 resets a connection whose end would be taken for the end of the answer', async () => {
    const arrived = new Counter()
    await using serves = await serving((_, response) => {
      arrived.add()
      response.write('a part')
    })
    using client = await RawClient.connect(serves.port)
    client.send('GET / HTTP/1.0\r\n\r\n')
    await client.sees('a part')
    await serves.drain({ t1: 10, t2: 20 })
    await client.closed
    assert.equal(client.error?.code, 'ECONNRESET')
  })
})

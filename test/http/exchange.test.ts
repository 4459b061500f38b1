import assert from 'node:assert/strict'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { it } from 'node:test'
import { isStewardError, StewardError } from '../../src/base/errors.ts'
import { exchangeOf, type Ended, type Exchange } from '../../src/http/exchange.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { describeEach } from '../helpers/ways.ts'
import { turns } from '../helpers/within.ts'

describeEach('an exchange', ({ serving, connect }) => {
  it('is found by its request', async () => {
    const found: boolean[] = []
    await using serves = await serving((request, response, exchange) => {
      found.push(exchangeOf(request) === exchange, exchange.response === response)
      response.end()
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    assert.deepEqual(found, [true, true])
    assert.equal(exchangeOf(new IncomingMessage(new Socket())), undefined)
  })

  it('R10 is over once, after both the handler has settled and the response is over', async () => {
    const handler = new Gate()
    const over = new Gate<Ended>()
    const order: string[] = []
    await using serves = await serving(async (_, response, exchange) => {
      exchange.whenOver((ended) => {
        order.push('over')
        over.open(ended)
      })
      response.statusCode = 201
      response.end('answer')
      await handler.opened
      order.push('settled')
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    order.push('answered')
    handler.open()
    assert.deepEqual(await over.opened, { failed: false, status: 201 })
    assert.deepEqual(order, ['answered', 'settled', 'over'])
  })

  it('R10 is over after a stream has ended, though the handler returned long before', async () => {
    const stream = new Gate()
    const over = new Gate<Ended>()
    await using serves = await serving((_, response, exchange) => {
      exchange.whenOver(over.open)
      response.write('first')
      void stream.opened.then(() => response.end())
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await client.sees('first')
    assert.equal(serves.server.waiting().length, 1)
    stream.open()
    assert.deepEqual(await over.opened, { failed: false, status: 200 })
  })

  it('R10 is over once when the client aborts', async () => {
    const arrived = new Counter()
    const handler = new Gate()
    const ends: Ended[] = []
    const over = new Gate()
    await using serves = await serving(async (_, __, exchange) => {
      exchange.whenOver((ended) => {
        ends.push(ended)
        over.open()
      })
      arrived.add()
      await handler.opened
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    client.reset()
    handler.open()
    await over.opened
    await serves.drain()
    assert.deepEqual(ends, [{ failed: false }])
    assert.deepEqual(serves.server.waiting(), [])
  })

  it('runs what waits for its end last first, one after the other, whatever throws', async () => {
    const order: string[] = []
    const done = new Gate()
    await using serves = await serving((_, response, exchange) => {
      exchange.whenOver(() => done.open())
      exchange.whenOver(() => void order.push('first'))
      exchange.whenOver(async () => {
        await Promise.resolve()
        order.push('second')
        throw new Error('of the second')
      })
      exchange.whenOver(() => {
        order.push('third')
        throw new Error('of the third')
      })
      response.end()
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    await done.opened
    assert.deepEqual(order, ['third', 'second', 'first'])
    const errors = serves.events.map((event) => event.type === 'error' && String(event.error))
    assert.deepEqual(errors, ['Error: of the third', 'Error: of the second'])
  })

  it('stays under way until what waits for its end has settled', async () => {
    const closing = new Gate()
    const begun = new Gate()
    await using serves = await serving((_, response, exchange) => {
      exchange.whenOver(() => {
        begun.open()
        return closing.opened
      })
      response.end()
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    await begun.opened
    client.destroy()
    let drained = false
    const drain = serves.drain().then(() => (drained = true))
    await serves.event('listener.closed')
    assert.equal(drained, false)
    assert.deepEqual(
      serves.server.waiting().map(({ kind }) => kind),
      ['handler'],
    )
    closing.open()
    await drain
  })

  it('calls what is registered after its end at once', async () => {
    const over = new Gate<Exchange>()
    await using serves = await serving((_, response, exchange) => {
      exchange.whenOver(() => void setImmediate(() => over.open(exchange)))
      response.end()
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    const exchange = await over.opened
    const late = new Gate<Ended>()
    exchange.whenOver(late.open)
    assert.deepEqual(await late.opened, { failed: false, status: 200 })
  })

  it('S3 aborts its signal when the client has gone', async () => {
    const arrived = new Counter()
    const reason = new Gate<unknown>()
    await using serves = await serving((_, __, { signal }) => {
      signal.addEventListener('abort', () => reason.open(signal.reason))
      arrived.add()
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    client.reset()
    assert.ok(isStewardError(await reason.opened, 'ERR_CLIENT_GONE'))
    while (serves.server.served.left === 0) await turns(1)
    assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 1, refused: 0 })
  })

  it('S3 has an aborted signal for who asks after the client has gone', async () => {
    const over = new Gate<Exchange>()
    const arrived = new Counter()
    await using serves = await serving((_, __, exchange) => {
      exchange.whenOver(() => over.open(exchange))
      arrived.add()
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    client.reset()
    const { signal } = await over.opened
    assert.ok(isStewardError(signal.reason, 'ERR_CLIENT_GONE'))
  })

  it('S3 does not abort its signal when the client leaves with its whole response', async () => {
    const over = new Gate<boolean>()
    await using serves = await serving((_, response, exchange) => {
      const { signal } = exchange
      exchange.whenOver(() => over.open(signal.aborted))
      response.end('answer')
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    client.destroy()
    assert.equal(await over.opened, false)
    assert.equal(serves.server.served.left, 0)
  })

  it('T6 tells of background work that rejects, and goes on', async () => {
    await using serves = await serving((_, response, exchange) => {
      exchange.waitUntil(Promise.reject(new Error('of the background')))
      response.end()
    })
    using client = await connect(serves.port)
    await client.request('GET /mail').response()
    const { message, error } = await serves.event('error')
    assert.equal(message, 'Background work of GET /mail failed')
    assert.equal(String(error), 'Error: of the background')
  })
})

describeEach('a handler that fails', ({ serving, connect }) => {
  const failures: Record<string, () => unknown> = {
    throws: () => {
      throw new StewardError('ERR_OPEN', 'Cannot open "pool"', { path: ['users', 'pool'] })
    },
    rejects: () =>
      Promise.reject(
        new StewardError('ERR_OPEN', 'Cannot open "pool"', { path: ['users', 'pool'] }),
      ),
  }
  for (const [how, fail] of Object.entries(failures)) {
    it(`is answered 500 on a connection that stays, when it ${how}`, async () => {
      const over = new Gate<Ended>()
      await using serves = await serving((request, response, exchange) => {
        if (request.url === '/fine') return response.end('fine')
        exchange.whenOver(over.open)
        response.setHeader('X-Secret', 'of the app')
        return fail()
      })
      using client = await connect(serves.port)
      const { status, headers, body } = await client.request('GET /bad?q=1').response()
      assert.equal(status, 500)
      assert.equal(body, 'Internal Server Error\n')
      assert.equal(headers.connection, 'keep-alive')
      assert.equal(headers['x-secret'], undefined)
      const ended = await over.opened
      assert.ok(ended.failed && isStewardError(ended.error, 'ERR_OPEN') && ended.status === 500)
      const { method, url, path, error } = await serves.event('request.failed')
      assert.deepEqual([method, url, path], ['GET', '/bad', ['users', 'pool']])
      assert.equal(error, ended.error)
      assert.equal((await client.request('GET /fine').response()).body, 'fine')
    })
  }

  it('ends the connection when a head was sent', async () => {
    const over = new Gate<Ended>()
    await using serves = await serving(async (_, response, exchange) => {
      exchange.whenOver(over.open)
      response.write('begun')
      await Promise.resolve()
      throw new Error('too late')
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await client.closed
    assert.ok(!client.received.endsWith('0\r\n\r\n'))
    assert.equal((await over.opened).failed, true)
    assert.equal((await serves.event('request.failed')).url, '/')
    assert.equal(serves.server.served.left, 0)
  })

  it('does no harm to a response that it has ended', async () => {
    await using serves = await serving((_, response) => {
      response.end('whole')
      throw new Error('after the end')
    })
    using client = await connect(serves.port)
    assert.equal((await client.request('GET /').response()).body, 'whole')
    assert.equal((await client.request('GET /').response()).body, 'whole')
    await serves.event('request.failed')
  })

  it('is not news when it only passes on that its client has gone', async () => {
    const arrived = new Counter()
    const over = new Gate<Ended>()
    await using serves = await serving(async (_, __, exchange) => {
      exchange.whenOver(over.open)
      const { promise, reject } = Promise.withResolvers()
      exchange.signal.addEventListener('abort', () => reject(exchange.signal.reason))
      arrived.add()
      await promise
    })
    using client = await connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    client.destroy()
    assert.equal((await over.opened).failed, true)
    assert.deepEqual(serves.events, [])
  })

  it('counts as failed when an adapter says so, the first error first', async () => {
    const over = new Gate<Ended>()
    await using serves = await serving((_, response, exchange) => {
      exchange.whenOver(over.open)
      exchange.fail('first')
      exchange.fail('second')
      response.writeHead(500).end()
    })
    using client = await connect(serves.port)
    await client.request('GET /').response()
    assert.deepEqual(await over.opened, { failed: true, error: 'first', status: 500 })
  })
})

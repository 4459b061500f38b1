import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isStewardError } from '../../src/base/errors.ts'
import type { ServiceEvent } from '../../src/base/events.ts'
import { run, signal } from '../../src/scope/builtin.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { header, query, request } from '../../src/service/request.ts'
import {
  listening,
  route,
  started,
  watchedHandler,
  watchedRequest,
  type Asking,
  type Door,
  type More,
  type Routes,
} from './door.ts'
import { settled } from './fake-world.ts'
import { Counter, Gate } from './gate.ts'
import { RawClient } from './raw-client.ts'
import { within } from './within.ts'

/** One way in which requests come to a door. */
export interface Way {
  readonly name: string
  start(routes: Routes, more?: More): Promise<Asking>
}

/** Over connections. */
export function overHttp(door: Door): Way {
  return { name: `${door.name} over HTTP`, start: (routes, more) => listening(door.app(routes), more) }
}

/** By `running.fetch`. */
export function byFetch(door: Door): Way {
  return {
    name: `${door.name} by running.fetch`,
    start: (routes, more) =>
      started(door.app(routes), (running, asked) => running.fetch(asked), more),
  }
}

/** An error that says how it is to be answered. */
export class Unauthorized extends Error {
  readonly status = 401

  getResponse(): Response {
    return new Response('who are you', { status: this.status })
  }
}

/** What was told as `request.failed`: by its path and the error's message. */
export function failures(events: readonly ServiceEvent[]): { path: readonly string[]; message: string }[] {
  return events.flatMap((event) =>
    event.type === 'request.failed'
      ? [{ path: event.path, message: (event.error as Error).message }]
      : [],
  )
}

function errors(events: readonly ServiceEvent[]): string[] {
  return events.flatMap((event) => (event.type === 'error' ? [event.message] : []))
}

/** The rules about scopes that do not depend on how a client behaves; run over every way of asking. */
export function addScopeTests(way: Way): void {
  describe(way.name, () => {
    addRequestScopeTests(way)
    addHandlerScopeTests(way)
    addSharingTests(way)
    addOpenerErrorTests(way)
    addBuiltinTests(way)
  })
}

function addRequestScopeTests({ start }: Way): void {
  it('R10 closes the request scope once, after the answer', async () => {
    const { resource: unit, opened, closed, endings } = watchedRequest()
    const during = new Counter()
    const asking = await start({
      '/': route({ unit }, ({ unit }) => {
        for (let n = 0; n < closed.count; n++) during.add()
        return { body: `unit ${unit.id}` }
      }),
    })
    assert.equal((await asking.ask('GET /')).body, 'unit 1')
    await within(2_000, closed.reached(1), 'the close')
    await asking[Symbol.asyncDispose]()
    assert.deepEqual([opened.count, closed.count, during.count], [1, 1, 0])
    assert.deepEqual(endings, [{ ok: true, status: 200 }])
  })

  it('R10 closes the request scope once after a handler that throws', async () => {
    const { resource: unit, closed, endings } = watchedRequest()
    const broken = new Error('broken')
    const asking = await start({
      '/': route({ unit }, () => {
        throw broken
      }),
    })
    assert.equal((await asking.ask('GET /')).status, 500)
    await asking[Symbol.asyncDispose]()
    assert.deepEqual(endings, [{ ok: false, error: broken, status: 500 }])
    assert.equal(closed.count, 1)
  })

  it('R10 keeps the request scope open until a streamed body has come to its end', async () => {
    const { resource: unit, closed } = watchedRequest()
    const seen: number[] = []
    const asking = await start({
      '/': route({ unit }, () => ({
        body: (async function* () {
          for (const piece of ['one ', 'two ', 'three']) {
            await settled()
            seen.push(closed.count)
            yield piece
          }
        })(),
      })),
    })
    assert.equal((await asking.ask('GET /')).body, 'one two three')
    await asking[Symbol.asyncDispose]()
    assert.deepEqual(seen, [0, 0, 0])
    assert.equal(closed.count, 1)
  })

  it('R10 opens nothing for a request that no route wants', async () => {
    const { resource: unit, opened } = watchedRequest()
    await using asking = await start({ '/': route({ unit }, () => ({})) })
    assert.equal((await asking.ask('GET /elsewhere')).status, 404)
    assert.equal(opened.count, 0)
  })

  it('tells of a close that fails after the answer, which stays as it is', async () => {
    const { resource: unit } = watchedRequest(() => {
      throw new Error('the close failed')
    })
    const asking = await start({ '/': route({ unit }, () => ({ body: 'fine' })) })
    assert.equal((await asking.ask('GET /')).body, 'fine')
    await asking[Symbol.asyncDispose]()
    assert.deepEqual(errors(asking.events), ['Closing after GET / failed'])
  })
}

function addHandlerScopeTests({ start }: Way): void {
  const failing = perHandler(async function* () {
    yield 'transaction'
    await settled()
    throw new Error('the commit failed')
  })

  it('R11 closes the handler scope before the head leaves', async () => {
    const order: string[] = []
    const { resource: unit } = watchedRequest(() => order.push('request closed'))
    const { resource: tx, endings } = watchedHandler(async () => {
      await settled()
      order.push('committed')
    })
    const asking = await start({
      '/': route({ unit, tx }, () => ({ status: 201, body: 'created' })),
    })
    const { status, body } = await asking.ask('POST /')
    assert.deepEqual([status, body], [201, 'created'])
    assert.equal(order[0], 'committed')
    await asking[Symbol.asyncDispose]()
    assert.deepEqual(order, ['committed', 'request closed'])
    assert.equal(endings[0]!.ok, true)
  })

  it('R11 makes a failing commit the 500 of the client, without the headers of the answer', async () => {
    await using asking = await start({
      '/': route({ failing }, () => ({
        status: 201,
        headers: { 'set-cookie': 'session=1', location: '/orders/1', 'content-type': 'image/png' },
        body: 'created',
      })),
    })
    const { status, headers, body } = await asking.ask('POST /')
    assert.equal(status, 500)
    assert.equal(headers['set-cookie'], undefined)
    assert.equal(headers['location'], undefined)
    assert.notEqual(headers['content-type'], 'image/png')
    assert.doesNotMatch(body, /created/)
  })

  it('R11 takes the commit back after a throw, whatever it threw', async () => {
    for (const thrown of [new Error('broken'), 'a string']) {
      const { resource: tx, endings } = watchedHandler()
      await using asking = await start({
        '/': route({ tx }, () => {
          throw thrown
        }),
      })
      assert.equal((await asking.ask('POST /')).status, 500)
      assert.equal(endings.length, 1)
      assert.deepEqual([endings[0]!.ok, endings[0]!.error], [false, thrown])
    }
  })

  it('R11 goes by the status: 409 is not ok, 303 is', async () => {
    const { resource: tx, endings } = watchedHandler()
    await using asking = await start({
      '/conflict': route({ tx }, () => ({ status: 409, body: 'taken' })),
      '/see': route({ tx }, () => ({ status: 303, headers: { location: '/' }, body: '' })),
    })
    assert.equal((await asking.ask('POST /conflict')).status, 409)
    assert.equal((await asking.ask('POST /see')).status, 303)
    assert.deepEqual(endings, [
      { ok: false, status: 409 },
      { ok: true, status: 303 },
    ])
  })

  it('R11 keeps the answer of a failure when closing fails too, and tells', async () => {
    await using asking = await start({ '/': route({ failing }, () => ({ status: 409, body: 'no' })) })
    assert.equal((await asking.ask('POST /')).status, 409)
    assert.deepEqual(errors(asking.events), ['Closing the handler scope failed for POST /'])
  })

  it('R11 closes what opened when an opener of the handler fails', async () => {
    const { resource: tx, endings } = watchedHandler()
    const refused = new Unauthorized('who are you')
    const later = perHandler({ tx }, () => Promise.reject(refused))
    await using asking = await start({ '/': route({ later }, () => ({ body: 'never' })) })
    assert.equal((await asking.ask('GET /')).status, 401)
    assert.deepEqual(endings, [{ ok: false, error: refused }])
  })
}

function addSharingTests({ start }: Way): void {
  it('R12 shares nothing but app values between two requests', async () => {
    const { resource: unit } = watchedRequest()
    let pools = 0
    const pool = perApp(() => ({ id: ++pools }))
    const seen: [pool: number, unit: number][] = []
    const both = new Counter()
    await using asking = await start({
      '/': route({ pool, unit }, async ({ pool, unit }) => {
        seen.push([pool.id, unit.id])
        both.add()
        await both.reached(2)
        return {}
      }),
    })
    await within(2_000, Promise.all([asking.ask('GET /'), asking.ask('GET /')]), 'both answers')
    assert.deepEqual(seen.toSorted(), [
      [1, 1],
      [1, 2],
    ])
  })

  it('opens at start what its routes inject, before the first request', async () => {
    let opened = 0
    const pool = perApp(() => ++opened)
    const user = perRequest({ pool }, ({ pool }) => pool)
    await using asking = await start({ '/': route({ user }, ({ user }) => ({ body: `${user}` })) })
    assert.equal(opened, 1)
    assert.equal((await asking.ask('GET /')).body, '1')
  })

  it('leaves a lazy one for its first use, and does not warn', async () => {
    let opened = 0
    const pool = perApp(() => ++opened, { lazy: true })
    await using asking = await start({ '/': route({ pool }, ({ pool }) => ({ body: `${pool}` })) })
    assert.equal(opened, 0)
    assert.equal((await asking.ask('GET /')).body, '1')
    assert.deepEqual(asking.events.filter(({ type }) => type === 'warning'), [])
  })
}

function addOpenerErrorTests({ start }: Way): void {
  it("R19 answers with an opener's own error, and tells its path once", async () => {
    const session = perRequest(async () => {
      throw new Unauthorized('who are you')
    })
    const user = perRequest({ session }, () => 'nobody')
    const { resource: unit, endings } = watchedRequest()
    const asking = await start({ '/': route({ unit, user }, () => ({ body: 'never' })) })
    const { status, body } = await asking.ask('GET /')
    assert.deepEqual([status, body], [401, 'who are you'])
    await asking[Symbol.asyncDispose]()
    assert.deepEqual(failures(asking.events), [{ path: ['user', 'session'], message: 'who are you' }])
    assert.equal(endings[0]!.ok, false)
    assert.equal((endings[0]!.error as Error).message, 'who are you')
  })

  it('R19 answers 500 for any other error of an opener, told with its path', async () => {
    const user = perRequest(() => {
      throw new Error('no database')
    })
    const asking = await start({ '/': route({ user }, () => ({ body: 'never' })) })
    const { status, body } = await asking.ask('GET /')
    assert.equal(status, 500)
    assert.doesNotMatch(body, /no database/)
    await asking[Symbol.asyncDispose]()
    assert.deepEqual(failures(asking.events), [{ path: ['user'], message: 'no database' }])
  })

  it('tries again with the next request what failed to open', async () => {
    let tries = 0
    const flaky = perRequest(async () => {
      if (++tries === 1) throw new Error('not yet')
      return tries
    })
    await using asking = await start({ '/': route({ flaky }, ({ flaky }) => ({ body: `${flaky}` })) })
    assert.equal((await asking.ask('GET /')).status, 500)
    assert.equal((await asking.ask('GET /')).body, '2')
  })
}

/** A Standard Schema by hand: wants `page` to be a number. */
export function pageSchema(how: 'sync' | 'async' = 'sync'): StandardSchemaV1<{ page: string }, { page: number }> {
  const validate = (value: unknown): StandardSchemaV1.Result<{ page: number }> => {
    const page = Number((value as { page?: string }).page)
    return Number.isNaN(page)
      ? { issues: [{ message: 'is no number', path: ['page'] }] }
      : { value: { page } }
  }
  return {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: how === 'sync' ? validate : async (value) => validate(value),
    },
  }
}

function addBuiltinTests({ start }: Way): void {
  it('gives the request in web types', async () => {
    await using asking = await start({
      '/': route({ request }, ({ request: { method, url, headers } }) => ({
        body: `${method} ${url.pathname} ${url.searchParams.get('a')} ${headers.has('x-none')}`,
      })),
    })
    assert.equal((await asking.ask('PUT /?a=1')).body, 'PUT / 1 false')
  })

  for (const how of ['sync', 'async'] as const) {
    it(`checks the query by a schema that is ${how}: a 400 names each issue`, async () => {
      const paging = query(pageSchema(how))
      const asking = await start({
        '/': route({ paging }, ({ paging }) => ({ body: `page ${paging.page + 1}` })),
      })
      assert.equal((await asking.ask('GET /?page=2')).body, 'page 3')
      const { status, headers, body } = await asking.ask('GET /?page=two')
      assert.equal(status, 400)
      assert.match(headers['content-type']!, /application\/json/)
      assert.deepEqual(JSON.parse(body), {
        error: 'Cannot use the query of the request: page: is no number',
        issues: [{ path: 'page', message: 'is no number' }],
      })
      await asking[Symbol.asyncDispose]()
      assert.deepEqual(failures(asking.events).map(({ path }) => path), [['paging']])
    })
  }

  it('checks the headers by a schema', async () => {
    const paged = header(pageSchema())
    await using asking = await start({ '/': route({ paged }, () => ({ body: 'fine' })) })
    assert.equal((await asking.ask('GET /')).status, 400)
  })

  it('gives `run`: a handler scope for each piece of work', async () => {
    const { resource: tx, endings } = watchedHandler()
    await using asking = await start({
      '/': route({ run }, async ({ run }) => {
        const first = await run({ tx }, ({ tx }) => tx.id)
        await run({ tx }, () => Promise.reject(new Error('only this one'))).catch(() => {})
        return { body: `${first}` }
      }),
    })
    assert.equal((await asking.ask('GET /')).body, '1')
    assert.deepEqual(endings.map(({ ok }) => ok), [true, false])
  })

  it('gives `signal`, which a request that ends well never aborts', async () => {
    const signals: AbortSignal[] = []
    const asking = await start({
      '/': route({ signal }, ({ signal }) => {
        signals.push(signal)
        return { body: 'fine' }
      }),
    })
    await asking.ask('GET /')
    await asking[Symbol.asyncDispose]()
    assert.equal(signals[0]!.aborted, false)
  })
}

/** What is opened for every request, whatever the route; for ways that go through the service. */
export function addEveryRequestTests({ name, start }: Way): void {
  describe(`everyRequest, ${name}`, () => {
    it('opens for each request, whatever the route, and closes with it', async () => {
      const { resource: audit, opened, closed } = watchedRequest()
      const asking = await start({ '/': route({}, () => ({})) }, { everyRequest: { audit } })
      await asking.ask('GET /')
      await asking.ask('GET /elsewhere')
      await asking[Symbol.asyncDispose]()
      assert.deepEqual([opened.count, closed.count], [2, 2])
    })

    it('shares its request scope with the handler', async () => {
      const { resource: audit, opened } = watchedRequest()
      const routes = { '/': route({ audit }, () => ({})) }
      await using asking = await start(routes, { everyRequest: { audit } })
      await asking.ask('GET /')
      assert.equal(opened.count, 1)
    })

    it('answers with an error that says how, and does not call the app', async () => {
      let called = 0
      const guard = perRequest(async () => {
        throw new Unauthorized('who are you')
      })
      const routes = { '/': route({}, () => ({ body: `${++called}` })) }
      const asking = await start(routes, { everyRequest: { guard } })
      const { status, body } = await asking.ask('GET /')
      assert.deepEqual([status, body, called], [401, 'who are you', 0])
      await asking[Symbol.asyncDispose]()
      assert.deepEqual(failures(asking.events), [{ path: ['guard'], message: 'who are you' }])
    })

    it('answers 400 for a request that does not fit', async () => {
      const routes = { '/': route({}, () => ({})) }
      await using asking = await start(routes, { everyRequest: { paging: query(pageSchema()) } })
      assert.equal((await asking.ask('GET /?page=1')).status, 200)
      assert.equal((await asking.ask('GET /?page=one')).status, 400)
    })

    it('answers 500 for any other error, told once with its path', async () => {
      const guard = perRequest(() => {
        throw new Error('no database')
      })
      const routes = { '/': route({}, () => ({})) }
      const asking = await start(routes, { everyRequest: { guard } })
      const { status, body } = await asking.ask('GET /')
      assert.equal(status, 500)
      assert.doesNotMatch(body, /no database/)
      await asking[Symbol.asyncDispose]()
      assert.deepEqual(failures(asking.events), [{ path: ['guard'], message: 'no database' }])
    })
  })
}

/** What a client does to a request: over connections only. */
export function addClientTests(door: Door): void {
  describe(`${door.name}, when the client leaves`, () => {
    it('R10 S3 aborts `signal`, and closes once, when the handler has settled', async () => {
      const { resource: unit, closed, endings } = watchedRequest()
      const [inHandler, aborted, leave] = [new Gate(), new Gate(), new Gate()]
      await using asking = await listening(
        door.app({
          '/': route({ unit, signal }, async ({ signal }) => {
            signal.addEventListener('abort', () => aborted.open())
            inHandler.open()
            await leave.opened
            return { body: 'to nobody' }
          }),
        }),
      )
      const client = await RawClient.connect(asking.port)
      client.request('GET /')
      await within(2_000, inHandler.opened, 'the handler')
      client.reset()
      await within(2_000, aborted.opened, 'the signal')
      await settled()
      assert.equal(closed.count, 0)
      leave.open()
      await within(2_000, closed.reached(1), 'the close')
      await asking.running.stop()
      assert.equal(endings.length, 1)
      assert.deepEqual(failures(asking.events), [])
    })

    it('R10 closes once when it leaves in the middle of a body that the handler reads', async () => {
      const { resource: unit, closed, endings } = watchedRequest()
      const reading = new Gate()
      await using asking = await listening(
        door.app({
          '/': route({ unit }, async (_, asked) => {
            reading.open()
            return { body: await asked.text() }
          }),
        }),
      )
      const client = await RawClient.connect(asking.port)
      client.send('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf')
      await within(2_000, reading.opened, 'the handler')
      await settled()
      client.reset()
      await within(2_000, closed.reached(1), 'the close')
      await asking.running.stop()
      assert.equal(closed.count, 1)
      assert.equal(endings[0]!.ok, false)
      assert.deepEqual(failures(asking.events), [])
    })

    it('R10 closes once when it leaves while the answer is streamed', async () => {
      const { resource: unit, closed } = watchedRequest()
      const cleaned = new Gate()
      await using asking = await listening(
        door.app({
          '/': route({ unit }, () => ({
            body: (async function* () {
              try {
                for (;;) {
                  yield 'x'.repeat(1_000)
                  await settled()
                }
              } finally {
                cleaned.open()
              }
            })(),
          })),
        }),
      )
      const client = await RawClient.connect(asking.port)
      await client.request('GET /').sees('xxx')
      assert.equal(closed.count, 0)
      client.reset()
      await within(2_000, cleaned.opened, "the stream's own cleanup")
      await within(2_000, closed.reached(1), 'the close')
      await asking.running.stop()
      assert.equal(closed.count, 1)
      assert.deepEqual(failures(asking.events), [])
    })

    it('R10 closes once what opens after it has left', async () => {
      const [opening, open] = [new Gate(), new Gate()]
      const closed = new Counter()
      const slow = perRequest(async function* () {
        opening.open()
        await open.opened
        yield 'slow'
        closed.add()
      })
      const aborted = new Gate()
      const watcher = perRequest({ signal }, ({ signal }) => {
        signal.addEventListener('abort', () => aborted.open())
        return 'watches'
      })
      await using asking = await listening(
        door.app({ '/': route({ watcher, slow }, () => ({ body: 'to nobody' })) }),
      )
      const client = await RawClient.connect(asking.port)
      client.request('GET /')
      await within(2_000, opening.opened, 'the opener')
      client.reset()
      await within(2_000, aborted.opened, 'the signal')
      assert.equal(closed.count, 0)
      open.open()
      await within(2_000, closed.reached(1), 'the close')
      await asking.running.stop()
      assert.equal(closed.count, 1)
    })

    it('R10 closes the handler scope of one that leaves, before that of the request', async () => {
      const order: string[] = []
      const { resource: unit, closed } = watchedRequest(() => order.push('request'))
      const { resource: tx } = watchedHandler(() => order.push('handler'))
      const [inHandler, leave] = [new Gate(), new Gate()]
      await using asking = await listening(
        door.app({
          '/': route({ unit, tx }, async () => {
            inHandler.open()
            await leave.opened
            return { body: 'to nobody' }
          }),
        }),
      )
      const client = await RawClient.connect(asking.port)
      client.request('GET /')
      await within(2_000, inHandler.opened, 'the handler')
      client.reset()
      await client.closed
      leave.open()
      await within(2_000, closed.reached(1), 'the close')
      assert.deepEqual(order, ['handler', 'request'])
    })
  })
}

/** Is it one of ours with that code, and does it say so much? */
export function isOurs(code: string, says: RegExp): (error: unknown) => boolean {
  return (error) => isStewardError(error) && error.code === code && says.test(error.message)
}


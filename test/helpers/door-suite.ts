import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ServiceEvent } from '../../src/base/events.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { route, watchedHandler, watchedRequest } from './door.ts'
import { settled } from './fake-world.ts'
import { Counter } from './gate.ts'
import { failures, Unauthorized, type Way } from './way.ts'
import { within } from './within.ts'

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
    await using asking = await start({
      '/': route({ failing }, () => ({ status: 409, body: 'no' })),
    })
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
    assert.deepEqual(
      seen.toSorted(([, one], [, other]) => one - other),
      [
        [1, 1],
        [1, 2],
      ],
    )
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
    assert.deepEqual(
      asking.events.filter(({ type }) => type === 'warning'),
      [],
    )
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
    assert.deepEqual(failures(asking.events), [
      { path: ['user', 'session'], message: 'who are you' },
    ])
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
    await using asking = await start({
      '/': route({ flaky }, ({ flaky }) => ({ body: `${flaky}` })),
    })
    assert.equal((await asking.ask('GET /')).status, 500)
    assert.equal((await asking.ask('GET /')).body, '2')
  })
}

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { open, type Live } from '../../src/scope/live.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { FakeWorld, settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { collect, errorOf, stewardErrorOf, Trace } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'
/** A resource whose close fails, at once or later. */

const failing = (message: string, deps = {}) =>
  perApp(deps, async function* () {
    yield message
    await settled()
    throw new Error(message)
  })

const messagesOf = (errors: readonly unknown[]): string[] =>
  errors.map((error) => (error as Error).message)

describe('close()', () => {
  it('R2 closes dependents before what they stand on, whatever the order of the keys', async () => {
    for (const turn of [false, true]) {
      const trace = new Trace()
      const a = trace.app('a')
      const b = trace.app('b', { a })
      const c = trace.app('c', { b })
      const app = await open(turn ? { a, b, c } : { c, b, a })
      assert.deepEqual(trace.take(), ['open a', 'open b', 'open c'])
      await app.close()
      assert.deepEqual(trace.take(), [
        'close c', 'closed c', 'close b', 'closed b', 'close a', 'closed a',
      ]) // oxfmt-ignore
    }
  })

  it('R2 closes independent branches at the same time, the last opened first', async () => {
    const trace = new Trace()
    const all = new Gate()
    let waiting = 0
    const branch = (name: string) =>
      perApp(async function* () {
        yield name
        trace.add(name)
        if (++waiting === 3) all.open()
        await all.opened
      })
    const app = await open({ a: branch('a'), b: branch('b'), c: branch('c') })
    await within(1_000, app.close(), 'three closes that wait for each other')
    assert.deepEqual(trace.lines, ['c', 'b', 'a'])
  })

  it('L6 closes LIFO to the letter where everything is synchronous', async () => {
    const trace = new Trace()
    const one = (name: string, deps = {}) =>
      perApp(deps, function* () {
        yield name
        trace.add(name)
      })
    const a = one('a')
    const b = one('b')
    const c = one('c', { a })
    const d = one('d')
    await (await open({ a, b, c, d })).close()
    assert.deepEqual(trace.lines, ['d', 'c', 'b', 'a'])
  })

  it('R2 lets a close use what it stands on', async () => {
    const rows: string[] = []
    const db = perApp(async function* () {
      let isOpen = true
      yield (row: string) => void (isOpen ? rows.push(row) : rows.push(`${row} (too late)`))
      isOpen = false
    })
    const audit = perApp({ db }, async function* ({ db }) {
      yield db
      await settled()
      db('stopped')
    })
    await (await open({ audit })).close()
    assert.deepEqual(rows, ['stopped'])
  })

  it('R3 one failing close stops no other; all errors come in closing order', async () => {
    const trace = new Trace()
    const base = trace.app('base')
    const first = failing('first', { base })
    const second = failing('second', { first })
    const sync = perApp({ base }, function* () {
      yield 0
      throw new Error('sync')
    })
    const app = await open({ second, sync })
    const error = await stewardErrorOf(app.close())
    assert.equal(error.code, 'ERR_CLOSE')
    assert.deepEqual(messagesOf(error.errors), ['sync', 'second', 'first'])
    assert.equal(error.cause, error.errors[0])
    assert.deepEqual(trace.lines, ['open base', 'close base', 'closed base'])
  })

  it('R3 hands a single error on as it is', async () => {
    const app = await open({ only: failing('only') })
    assert.equal(((await errorOf(app.close())) as Error).message, 'only')
  })

  it("R3 puts the body's own error first", async () => {
    const cleanup = perRequest(async function* () {
      yield 1
      throw new Error('cleanup')
    })
    await using app = await open({})
    const failure = new Error('body')
    const error = await stewardErrorOf(
      app.run({ cleanup }, () => {
        throw failure
      }),
    )
    assert.equal(error.code, 'ERR_CLOSE')
    assert.deepEqual(messagesOf(error.errors), ['body', 'cleanup'])
    assert.equal(error.cause, failure)
  })

  it('R3 loses no error of the scopes on the way', async () => {
    const endings: unknown[] = []
    const outer = perRequest(async function* () {
      endings.push(yield 1)
      throw new Error('request')
    })
    const inner = perHandler({ outer }, async function* () {
      yield 1
      throw new Error('handler')
    })
    await using app = await open({})
    const error = await stewardErrorOf(app.run({ inner }, () => 'fine'))
    assert.deepEqual(messagesOf(error.errors), ['handler', 'request'])
    assert.deepEqual(endings, [{ ok: false, error: error.errors[0] }])
  })

  it('is idempotent: everyone who calls gets the same promise', async () => {
    const trace = new Trace()
    const one = trace.app('one')
    const app = await open({ one })
    const first = app.close()
    assert.equal(app.close(), first)
    await first
    assert.equal(app.close(), first)
    assert.equal(app[Symbol.asyncDispose](), first)
    assert.deepEqual(trace.lines, ['open one', 'close one', 'closed one'])
  })

  it('is idempotent when it fails', async () => {
    const app = await open({ one: failing('one') })
    const [first, second] = [errorOf(app.close()), errorOf(app.close())]
    assert.equal(await first, await second)
  })

  it('does not dead-lock when a close calls close() again', async () => {
    for (const depth of ['app', 'request'] as const) {
      const live: { close?: () => Promise<void> } = {}
      const make = (depth === 'app' ? perApp : perRequest) as typeof perRequest
      const below = make(async function* () {
        yield 1
        await live.close!()
      })
      const above = make({ below }, async function* () {
        yield 1
        await live.close!()
        await settled()
      })
      const app = await open(depth === 'app' ? { above: above as never } : {})
      const scope = app.enter(perRequest)
      if (depth === 'request') await scope.run({ above }, () => 0)
      live.close = () => (depth === 'app' ? app : scope).close()
      await within(1_000, live.close(), `closing the ${depth}`)
      await app.close()
    }
  })

  it('bounds even a close that waits for itself later on', async () => {
    const world = new FakeWorld()
    const live: { app?: Live<unknown> } = {}
    const one = perApp(async function* () {
      yield 1
      await settled()
      await live.app!.close()
    })
    const app = await open({ one }, { world, closeTimeout: '4s' })
    live.app = app
    const closing = stewardErrorOf(app.close())
    await settled()
    await world.advance(4_000)
    assert.equal((await within(1_000, closing)).code, 'ERR_CLOSE_TIMEOUT')
  })

  it('closes with await using', async () => {
    const trace = new Trace()
    const one = trace.app('one')
    const two = perRequest(() => trace.life('two'))
    {
      await using app = await open({ one })
      await using request = app.enter(perRequest)
      await request.run({ two }, () => trace.add('work'))
    }
    assert.deepEqual(trace.lines, [
      'open one', 'open two', 'work', 'close two', 'closed two', 'close one', 'closed one',
    ]) // oxfmt-ignore
  })

  it('tells what it opened and closed, with times', async () => {
    const world = new FakeWorld()
    const told = collect(
      'resource.opening',
      'resource.opened',
      'resource.closing',
      'resource.closed',
    )
    const gate = [new Gate(), new Gate()]
    const one = perApp(async function* () {
      await gate[0]!.opened
      yield 1
      await gate[1]!.opened
    })
    const opening = open({ one }, { world, on: told.on })
    await world.advance(30)
    gate[0]!.open()
    const app = await opening
    const closing = app.close()
    await world.advance(20)
    gate[1]!.open()
    await closing
    assert.deepEqual(told.events, [
      { type: 'resource.opening', name: 'one' },
      { type: 'resource.opened', name: 'one', took: 30 },
      { type: 'resource.closing', name: 'one' },
      { type: 'resource.closed', name: 'one', took: 20 },
    ])
    assert.deepEqual(app.timings(), { one: { opened: 30, closed: 20 } })
  })
})

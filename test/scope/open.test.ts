import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isStewardError } from '../../src/base/errors.ts'
import { open } from '../../src/scope/live.ts'
import { perApp, perRequest, type Context } from '../../src/scope/resource.ts'
import { FakeWorld, settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { collect, errorOf, stewardErrorOf, Trace } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'
/** A resource that opens when its gate does. */

function gated(trace: Trace, name: string, deps = {}) {
  const gate = new Gate<unknown>()
  const resource = perApp(deps, async () => {
    trace.add(`open ${name}`)
    const failure = await gate.opened
    if (failure) throw failure
    return name
  })
  return { gate, resource }
}

describe('open()', () => {
  it('R1 opens independent resources at the same time', async () => {
    const all = new Gate()
    let waiting = 0
    const barrier = async (): Promise<void> => {
      if (++waiting === 3) all.open()
      await all.opened
    }
    const [a, b, c] = [perApp(barrier), perApp(barrier), perApp(barrier)]
    await using app = await within(
      1_000,
      open({ a, b, c }),
      'three openers that wait for each other',
    )
    assert.deepEqual(Object.keys(app.values), ['a', 'b', 'c'])
  })

  it('R1 does not hold a ready chain behind a slow sibling', async () => {
    const trace = new Trace()
    const slow = gated(trace, 'slow')
    const fast = gated(trace, 'fast')
    const next = gated(trace, 'next', { fast: fast.resource })
    const opening = open({ slow: slow.resource, next: next.resource })
    fast.gate.open(undefined)
    await settled()
    assert.deepEqual(trace.take(), ['open slow', 'open fast', 'open next'])
    next.gate.open(undefined)
    slow.gate.open(undefined)
    await (await opening).close()
  })

  it("R1 opens a diamond's base once", async () => {
    const trace = new Trace()
    const base = trace.app('base')
    const left = trace.app('left', { base })
    const right = trace.app('right', { base })
    const top = trace.app('top', { left, right })
    await using app = await open({ top, base })
    assert.deepEqual(trace.take(), ['open base', 'open left', 'open right', 'open top'])
    assert.equal(app.values.top, 'top')
  })

  it('R1 opens a lazy resource at its first use, once, under 100 concurrent users', async () => {
    let opened = 0
    const gate = new Gate()
    const lazy = perApp(
      async () => {
        opened++
        await gate.opened
        return { opened }
      },
      { lazy: true },
    )
    await using app = await open({ lazy })
    assert.equal(opened, 0)
    const users = Array.from({ length: 100 }, () => app.run({ lazy }, (values) => values.lazy))
    gate.open()
    assert.equal(new Set(await Promise.all(users)).size, 1)
    assert.equal(opened, 1)
    assert.equal(app.values.lazy.opened, 1)
  })

  it('says how to read a lazy resource that nothing has used yet', async () => {
    const lazy = perApp(() => 1, { lazy: true })
    await using app = await open({ lazy })
    await assert.rejects(async () => app.values.lazy, /Cannot read "lazy": it is lazy and nothing/)
  })

  it('opens a lazy resource at start when an eager one stands on it', async () => {
    const lazy = perApp(() => 'lazy', { lazy: true })
    const eager = perApp({ lazy }, (deps) => `${deps.lazy} no more`)
    await using app = await open({ lazy, eager })
    assert.equal(app.values.lazy, 'lazy')
    assert.equal(app.values.eager, 'lazy no more')
  })
})

describe('a failing open()', () => {
  it('R2 closes what was open in reverse and names the path', async () => {
    const trace = new Trace()
    const failure = new Error('no route to host')
    const first = trace.app('first')
    const second = trace.app('second', { first })
    const third = perApp({ second }, async () => {
      throw failure
    })
    const fourth = trace.app('fourth', { third })
    const fifth = trace.app('fifth', { fourth })
    const error = await stewardErrorOf(open({ first, second, fifth }))
    assert.equal(error.code, 'ERR_OPEN')
    assert.deepEqual(error.path, ['fifth', 'fourth', 'third'])
    assert.match(
      error.message,
      /^Cannot open "third" \(fifth → fourth → third\): no route to host$/,
    )
    assert.equal(error.cause, failure)
    assert.deepEqual(error.errors, [failure])
    assert.deepEqual(trace.lines, [
      'open first', 'open second', 'close second', 'closed second', 'close first', 'closed first',
    ]) // oxfmt-ignore
  })

  it('asks siblings that still open to stop, and closes what they deliver late', async () => {
    const trace = new Trace()
    const gate = new Gate()
    const failure = new Error('no')
    let reason: unknown
    const failing = perApp(async () => {
      await gate.opened
      throw failure
    })
    const late = perApp(async function* ({ opening }) {
      const stopped = new Gate<void>()
      opening.addEventListener('abort', () => stopped.open())
      gate.open()
      await stopped.opened
      reason = opening.reason
      const end = yield 'late'
      trace.add(`closed late, ok: ${end.ok}`)
    })
    const error = await stewardErrorOf(open({ failing, late }))
    assert.equal(error.cause, failure)
    assert.ok(isStewardError(reason, 'ERR_SCOPE_CLOSED'))
    assert.deepEqual(trace.lines, ['closed late, ok: false'])
  })

  it('R3 reports every error: of the openers, of the late, and of the closes', async () => {
    const gate = new Gate()
    const open1 = perApp(function* () {
      yield 1
      throw new Error('close 1')
    })
    const failing = perApp({ open1 }, async () => {
      gate.open()
      throw new Error('open 2')
    })
    const failingToo = perApp(async () => {
      await gate.opened
      throw new Error('open 3')
    })
    const late = perApp(async function* ({ opening }) {
      await new Promise((resolve) => opening.addEventListener('abort', resolve))
      yield 4
      throw new Error('close 4')
    })
    const heeding = perApp(async ({ opening }) => {
      const aborted = new Gate()
      opening.addEventListener('abort', () => aborted.open())
      await aborted.opened
      opening.throwIfAborted()
    })
    const error = await stewardErrorOf(open({ failing, failingToo, late, heeding }))
    assert.deepEqual(
      error.errors.map((one) => (one as Error).message),
      ['open 2', 'open 3', 'close 4', 'close 1'],
    )
    assert.match(error.message, /and 3 more/)
  })

  it('R4 is not remembered: the next use tries again', async () => {
    let attempts = 0
    const flaky = perApp(
      async () => {
        if (++attempts < 3) throw new Error(`attempt ${attempts}`)
        return attempts
      },
      { lazy: true },
    )
    const user = perRequest({ flaky }, ({ flaky }) => flaky)
    await using app = await open({ flaky })
    assert.equal(String(await errorOf(app.run({ user }, () => 0))), 'Error: attempt 1')
    assert.equal(String(await errorOf(app.run({ user }, () => 0))), 'Error: attempt 2')
    assert.equal(await app.run({ user }, ({ user }) => user), 3)
  })

  it('R4 tries again with a second open()', async () => {
    let attempts = 0
    const flaky = perApp(() => {
      if (++attempts === 1) throw new Error('first')
      return attempts
    })
    await assert.rejects(open({ flaky }))
    await using app = await open({ flaky })
    assert.equal(app.values.flaky, 2)
  })
})

describe('limits of opening', () => {
  it('R5 names what was not open after its openTimeout, and what it stands on', async () => {
    const world = new FakeWorld()
    const late = collect('resource.late')
    const base = perApp(() => 1)
    const stuck = perApp({ base }, () => new Promise<number>(() => {}), { openTimeout: '5s' })
    const opening = stewardErrorOf(open({ stuck }, { world, on: late.on }))
    await world.advance(5_000)
    const error = await within(1_000, opening)
    assert.equal((error.cause as { code: string }).code, 'ERR_OPEN_TIMEOUT')
    assert.match(error.message, /"stuck": it was not open after 5000 ms \(it stands on "base"\)/)
    assert.deepEqual(late.events, [
      { type: 'resource.late', name: 'stuck', doing: 'opening', after: 5_000 },
    ])
    assert.equal(world.timers, 0)
  })

  it('R5 gives resources of the app 30 s by default', async () => {
    const world = new FakeWorld()
    const stuck = perApp(() => new Promise<number>(() => {}))
    const opening = stewardErrorOf(open({ stuck }, { world }))
    await world.advance(30_000)
    assert.match((await within(1_000, opening)).message, /not open after 30000 ms/)
  })

  it('R5 closes at once a value that arrives after its openTimeout', async () => {
    const world = new FakeWorld()
    const trace = new Trace()
    const gate = new Gate()
    const late = perApp(
      async function* ({ opening }) {
        await gate.opened
        const end = yield opening.aborted
        trace.add(`ok: ${end.ok}, ${(end.error as { code: string }).code}`)
      },
      { openTimeout: '1s', lazy: true },
    )
    const app = await open({ late }, { world })
    const use = stewardErrorOf(app.run({ late }, () => 0))
    await world.advance(1_000)
    assert.equal((await use).code, 'ERR_OPEN_TIMEOUT')
    gate.open()
    await settled()
    assert.deepEqual(trace.take(), ['ok: false, ERR_OPEN_TIMEOUT'])
    await app.close()
    assert.deepEqual(trace.take(), [])
  })

  it('tells of a late opener that fails in another way', async () => {
    const world = new FakeWorld()
    const gate = new Gate()
    const told = collect('error')
    const failure = new Error('refused')
    const late = perApp(
      async () => {
        await gate.opened
        throw failure
      },
      { openTimeout: '1s', lazy: true },
    )
    await using app = await open({ late }, { world, on: told.on })
    const use = errorOf(app.run({ late }, () => 0))
    await world.advance(1_000)
    await use
    gate.open()
    await settled()
    assert.deepEqual(
      told.events.map(({ error }) => error),
      [failure],
    )
  })

  it('ends the whole start after openTimeout and names what was still opening', async () => {
    const world = new FakeWorld()
    const [a, b] = [1, 2].map(() => perApp(({ opening }) => heeding(opening)))
    const opening = stewardErrorOf(open({ a: a!, b: b! }, { world, openTimeout: '2s' }))
    await world.advance(2_000)
    const error = await within(1_000, opening)
    assert.equal(error.code, 'ERR_OPEN_ABORTED')
    assert.equal((error.cause as { code: string }).code, 'ERR_OPEN_TIMEOUT')
    assert.match(error.message, /still opening: "a", "b"/)
    assert.deepEqual(error.errors, [])
    assert.equal(world.timers, 0)
  })

  it('opens nothing when its signal is aborted already', async () => {
    let opened = 0
    const one = perApp(() => opened++)
    const error = await stewardErrorOf(open({ one }, { signal: AbortSignal.abort('enough') }))
    assert.equal(error.code, 'ERR_OPEN_ABORTED')
    assert.equal(error.cause, 'enough')
    assert.equal(opened, 0)
  })

  it('L4 a stop during start aborts the openers, closes what is open or opens late, and never hangs', async () => {
    const world = new FakeWorld()
    const trace = new Trace()
    const stop = new AbortController()
    const first = trace.app('first')
    const heedful = perApp({ first }, (_, { opening }) => heeding(opening))
    const deaf = perApp(() => new Promise<void>(() => {}))
    const opening = stewardErrorOf(open({ heedful, deaf }, { world, signal: stop.signal }))
    await settled()
    stop.abort(new Error('Ctrl-C'))
    await world.advance(25_000)
    const error = await within(1_000, opening)
    assert.equal(error.code, 'ERR_OPEN_ABORTED')
    assert.match(error.message, /Ctrl-C \(still opening: "deaf", "heedful"\)/)
    assert.deepEqual(
      error.errors.map((one) => (one as Error).message),
      ['Cannot stop the opening of "deaf": it did not heed its signal; it is closed when it comes'],
    )
    assert.deepEqual(trace.lines, ['open first', 'close first', 'closed first'])
  })

  it('never aborts the signal of an opening that is over', async () => {
    let kept: AbortSignal | undefined
    const one = perApp(({ opening }) => {
      kept = opening
      return 1
    })
    const lateLook = perApp((context: Context) => () => context.opening.aborted)
    const app = await open({ one, lateLook })
    const look = app.values.lateLook
    await app.close()
    assert.equal(kept?.aborted, false)
    assert.equal(look(), false)
  })

  it('shows the abort to an opener that looks at its signal only then', async () => {
    const stop = new AbortController()
    const gate = new Gate()
    let seen: boolean | undefined
    const one = perApp(async (context: Context) => {
      await gate.opened
      seen = context.opening.aborted
    })
    const opening = errorOf(open({ one }, { signal: stop.signal }))
    stop.abort()
    await settled()
    gate.open()
    await opening
    assert.equal(seen, true)
  })
})

async function heeding(opening: AbortSignal): Promise<never> {
  await new Promise((resolve) => opening.addEventListener('abort', resolve))
  throw opening.reason
}

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { open } from '../../src/scope/live.ts'
import { perApp, perRequest, type Ending } from '../../src/scope/resource.ts'
import { FakeWorld, settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { collect, stewardErrorOf, Trace } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'

describe('limits of closing', () => {
  it('R5 names and abandons a close that outlives its closeTimeout; what it stands on still closes', async () => {
    const world = new FakeWorld()
    const trace = new Trace()
    const told = collect('resource.late', 'error')
    const gate = new Gate()
    const base = trace.app('base')
    const stuck = perApp(
      { base },
      async function* () {
        yield 1
        await gate.opened
        throw new Error('after all')
      },
      { closeTimeout: '2s' },
    )
    const app = await open({ stuck }, { world, on: told.on })
    const closing = stewardErrorOf(app.close())
    await world.advance(2_000)
    const error = await within(1_000, closing)
    assert.equal(error.code, 'ERR_CLOSE_TIMEOUT')
    assert.deepEqual(error.path, ['stuck'])
    assert.match(error.message, /"stuck": it was not closed after 2000 ms/)
    assert.deepEqual(trace.lines, ['open base', 'close base', 'closed base'])
    gate.open()
    await settled()
    assert.deepEqual(
      told.events.map((event) => event.type),
      ['resource.late', 'error'],
    )
    assert.equal(world.timers, 0)
  })

  it('R5 holds closeTimeout in request scopes too', async () => {
    const world = new FakeWorld()
    const stuck = perRequest(
      async function* () {
        yield 1
        await new Promise(() => {})
      },
      { closeTimeout: '1s' },
    )
    await using app = await open({}, { world })
    const run = stewardErrorOf(app.run({ stuck }, () => 1))
    await world.advance(1_000)
    const error = await within(1_000, run)
    assert.match(error.message, /"stuck": it was not closed after 1000 ms/)
  })

  it('L7 gives each close its share of one budget, and asks everything to close when it is spent', async () => {
    const world = new FakeWorld()
    const asked: string[] = []
    const stuck = (name: string, deps = {}) =>
      perApp(deps, async function* () {
        yield name
        asked.push(`${name} at ${world.now()}`)
        await new Promise(() => {})
      })
    const a = stuck('a')
    const b = stuck('b', { a })
    const c = stuck('c', { b })
    const app = await open({ c }, { world, closeTimeout: '9s' })
    const closing = stewardErrorOf(app.close())
    await world.advance(9_000)
    const error = await within(1_000, closing)
    assert.deepEqual(asked, ['c at 0', 'b at 3000', 'a at 6000'])
    assert.deepEqual(
      error.errors.map((one) => (one as { path: string[] }).path[0]),
      ['c', 'b', 'a'],
    )
  })

  it('gives work under way half of the budget, then cuts it', async () => {
    const world = new FakeWorld()
    const endings: Ending[] = []
    const tx = perRequest(async function* () {
      endings.push(yield 1)
    })
    const gate = new Gate()
    const app = await open({}, { world, closeTimeout: '10s' })
    const run = stewardErrorOf(app.run({ tx }, () => gate.opened))
    await settled()
    const closing = app.close()
    await world.advance(4_999)
    assert.equal(endings.length, 0)
    await world.advance(1)
    await within(1_000, closing)
    assert.equal(endings[0]?.ok, false)
    gate.open()
    const error = await within(1_000, run)
    assert.equal(error.code, 'ERR_SCOPE_CLOSED')
    assert.match(error.message, /Cannot finish the work: the request scope is closed/)
  })

  it('does not wait for ever for a scope inside that was closing already', async () => {
    const world = new FakeWorld()
    const stuck = perRequest(async function* () {
      yield 1
      await new Promise(() => {})
    })
    const app = await open({}, { world, closeTimeout: '8s' })
    void app.run({ stuck }, () => 1)
    await settled()
    const closing = stewardErrorOf(app.close())
    await world.advance(8_000)
    const error = await within(1_000, closing)
    assert.equal(error.code, 'ERR_CLOSE_TIMEOUT')
    assert.match(error.message, /a request scope to close: "stuck" takes longer/)
  })

  it('closes during open: an opener that never settles is named, and its value closed when it comes', async () => {
    const world = new FakeWorld()
    const trace = new Trace()
    const gate = new Gate()
    const deaf = perApp(
      async function* () {
        await gate.opened
        const end = yield 1
        trace.add(`closed late, ok: ${end.ok}`)
      },
      { lazy: true, openTimeout: '1h' },
    )
    const app = await open({ deaf }, { world, closeTimeout: '8s' })
    const run = stewardErrorOf(app.run({ deaf }, () => 1))
    await settled()
    const closing = stewardErrorOf(app.close())
    await world.advance(8_000)
    assert.match((await within(1_000, closing)).message, /the opening of "deaf": it did not heed/)
    assert.match((await within(1_000, run)).message, /the opening of "deaf"/)
    gate.open()
    await settled()
    assert.deepEqual(trace.lines, ['closed late, ok: false'])
    assert.equal(world.timers, 0)
  })
})

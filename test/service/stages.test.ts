import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ServiceEvent } from '../../src/base/events.ts'
import type { BoundHook } from '../../src/service/hooks.ts'
import {
  divide,
  reserveOf,
  runAll,
  stopInStages,
  tellWaiting,
  type Budget,
} from '../../src/service/stages.ts'
import { Deadline } from '../../src/base/deadline.ts'
import { FakeWorld, settled } from '../helpers/fake-world.ts'

const never = new Promise<never>(() => {})

function budgetOf(
  grace: number,
  drainDelay = 0,
): { world: FakeWorld; budget: Budget; force: AbortController } {
  const world = new FakeWorld()
  const force = new AbortController()
  return { world, force, budget: divide({ grace, drainDelay }, { world, force: force.signal }) }
}

function timesOf({ drainDelay, shutdownHooks, t1, t2, cleanup, end }: Budget): number[] {
  return [drainDelay, shutdownHooks, t1, t2, cleanup, end].map(({ at }) => at)
}

describe('the budget', () => {
  it('is divided as the contract says', () => {
    assert.deepEqual(timesOf(budgetOf(25_000).budget), [0, 5_000, 19_000, 20_000, 22_500, 25_000])
    assert.deepEqual(timesOf(budgetOf(1_000).budget), [0, 200, 400, 500, 750, 1_000])
    assert.deepEqual(
      timesOf(budgetOf(60_000, 20_000).budget),
      [20_000, 20_000, 54_000, 55_000, 57_500, 60_000],
    )
  })

  it('keeps a fifth back for closing, within 1 s and 5 s, and never more than half', () => {
    const reserves = [0, 500, 1_000, 3_000, 10_000, 25_000, 600_000].map(reserveOf)
    assert.deepEqual(reserves, [0, 250, 500, 1_000, 2_000, 5_000, 5_000])
  })

  it('lets no drain delay reach into the reserve', () => {
    const [drainDelay, shutdownHooks] = timesOf(budgetOf(10_000, 60_000).budget)
    assert.deepEqual([drainDelay, shutdownHooks], [8_000, 8_000])
  })
})

describe('stopInStages()', () => {
  function target(
    world: FakeWorld,
    lines: string[],
    hooks: Partial<Record<'onShutdown' | 'onDrained', BoundHook[]>> = {},
  ) {
    const at = (line: string): void => void lines.push(`${world.now()} ${line}`)
    return {
      emit: () => {},
      world,
      traffic: {
        stopping: () => at('stopping'),
        lastArrival: () => 0,
        drain: async () => at('drain'),
      },
      onShutdown: hooks.onShutdown ?? [],
      onDrained: hooks.onDrained ?? [],
      served: () => ({ requests: 0, cut: 0, left: 0, refused: 0 }),
      enter: (stage: string) => at(stage),
      closeResources: async () => at('close'),
    }
  }

  it('waits for the drain delay and for onShutdown, which run at the same time', async () => {
    const { world, budget } = budgetOf(25_000, 3_000)
    const lines: string[] = []
    const hook = {
      name: 'onShutdown',
      run: () => new Promise<void>((resolve) => void world.timer(2_000, resolve)),
    }
    const stopped = stopInStages(target(world, lines, { onShutdown: [hook] }), budget)
    await world.advance(25_000)
    const { took, clean } = await stopped
    assert.deepEqual(lines, [
      '0 stopping',
      '3000 draining',
      '3000 drain',
      '3000 closing',
      '3000 close',
    ])
    assert.deepEqual([took, clean], [{ stopping: 3_000, draining: 0, closing: 0 }, true])
  })

  it('abandons onShutdown at a fifth of the grace', async () => {
    const { world, budget } = budgetOf(25_000)
    const lines: string[] = []
    const stopped = stopInStages(
      target(world, lines, { onShutdown: [{ name: 'onShutdown', run: () => never }] }),
      budget,
    )
    await world.advance(25_000)
    assert.equal((await stopped).clean, false)
    assert.ok(lines.includes('5000 drain'))
  })

  it('is hurried to its end by a force, within the close reserve', async () => {
    const { world, budget, force } = budgetOf(25_000, 15_000)
    const lines: string[] = []
    const onDrained = [{ name: 'onDrained', run: () => never }]
    const stopped = stopInStages(target(world, lines, { onDrained }), budget)
    await world.advance(1_000)
    force.abort()
    await world.advance(10_000)
    const { errors } = await stopped
    assert.deepEqual(lines, [
      '0 stopping',
      '1000 draining',
      '1000 drain',
      '1000 closing',
      '3500 close',
    ])
    assert.match(String(errors[0]), /Cannot wait for onDrained: it had not ended after 2500 ms/)
  })
})

describe('runAll()', () => {
  it('L7 gives each hook an even share of what is left', async () => {
    const world = new FakeWorld()
    const events: ServiceEvent[] = []
    const errors: unknown[] = []
    const hooks = ['one', 'two', 'three'].map((name) => ({
      name,
      run: () => (name === 'two' ? undefined : never),
    }))
    const limit = Deadline.in(9_000, world)
    const running = runAll(hooks, {
      world,
      limit,
      errors,
      emit: (event) => void events.push(event),
    })
    await world.advance(9_000)
    await running
    const ended = events.filter((event) => event.type === 'hook.ended')
    assert.deepEqual(
      ended.map(({ name, took }) => [name, took]),
      [
        ['one', 3_000],
        ['two', 0],
        ['three', 6_000],
      ],
    )
    assert.equal(errors.length, 2)
  })
})

describe('tellWaiting()', () => {
  it('tells once a second, when there is something', async () => {
    const world = new FakeWorld()
    const events: ServiceEvent[] = []
    let waiting = [{ kind: 'request' as const, what: 'GET /', age: 5 }]
    const release = tellWaiting('drain.waiting', () => waiting, {
      world,
      emit: (event) => void events.push(event),
    })
    await world.advance(2_500)
    assert.equal(events.length, 2)
    waiting = []
    await world.advance(2_500)
    assert.equal(events.length, 2)
    release()
    await settled()
    assert.equal(world.timers, 0)
  })
})

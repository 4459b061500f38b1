import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FakeSystem, type FakeChild } from '../helpers/fake-system.ts'

type Step = (system: FakeSystem, which: number) => Promise<void> | void

/** One of them, when there is one. */
function pick(children: readonly FakeChild[], which: number): FakeChild | undefined {
  return children[which % Math.max(1, children.length)]
}

/** Whatever may happen to a supervisor, or be asked of it. */
const STEPS: Readonly<Record<string, Step>> = {
  ready: ({ starting }, which) => pick(starting, which)?.ready(),
  'fail to start': ({ starting }, which) => pick(starting, which)?.exit(1),
  crash: ({ alive }, which) => pick(alive, which)?.exit(null, 'SIGKILL'),
  beat: ({ alive }, which) => pick(alive.filter(({ isReady }) => isReady), which)?.beat({ served: which }), // oxfmt-ignore
  retire: ({ alive }, which) => pick(alive.filter(({ isReady }) => isReady), which)?.say({ t: 'retire', reason: 'SIGTERM' }), // oxfmt-ignore
  die: ({ alive }, which) => pick(alive, which)?.say({ t: 'dying', reason: 'failure' }),
  obey: ({ alive }, which) => pick(alive.filter(({ isAsked }) => isAsked), which)?.obey(), // oxfmt-ignore
  restart: ({ supervisor }) => supervisor.restart('asked'),
  'scale up': ({ supervisor }) => supervisor.scaleBy(1),
  'scale down': ({ supervisor }) => supervisor.scaleBy(-1),
  wait: ({ world }, which) => world.advance(which * 10),
  'wait long': ({ world }, which) => world.advance(which * 1_000),
}

const names = Object.keys(STEPS)
const steps = fc.array(fc.tuple(fc.constantFrom(...names), fc.nat(40)), { maxLength: 60 })
const plans = fc.record({ workers: fc.integer({ min: 1, max: 4 }), steps })

describe('the supervisor, whatever happens', () => {
  it('V2 V4 V5 V6 V9 V14 keeps to its rules, comes to rest, and leaves nobody', async () => {
    const property = fc.asyncProperty(plans, async (plan) => {
      const limits = { hang: 30_000, recycling: { requests: 35 } }
      const system = new FakeSystem(plan.workers, limits)
      const { supervisor } = system
      supervisor.start()
      // With none ready a failed start ends it, which has tests of its own
      system.child(0).ready()
      let target = plan.workers
      let told = 0
      for (const [name, which] of plan.steps) {
        await STEPS[name]!(system, which)
        if (name === 'scale up') target++
        if (name === 'scale down') target = Math.max(1, target - 1)
        checkNow(system, target)
        checkStops(system, told)
        told = system.events.length
      }
      await rest(system)
      checkRest(system, target)
      await end(system)
    })
    await fc.assert(property, { numRuns: 500 })
  })
})

/** At every moment. */
function checkNow({ supervisor }: FakeSystem, target: number): void {
  assert.equal(supervisor.state, 'running')
  const alive = supervisor.workers.filter(({ state }) => state === 'starting' || state === 'ready')
  // One that was hung, and had its successor, may have come back
  const wanted = alive.filter(({ retirement }) => !/blocked/.test(retirement))
  assert.ok(wanted.length <= target + 1, `${wanted.length} of ${target} alive`)
  const slots = Map.groupBy(alive, ({ slot }) => slot)
  const doubled = [...slots.values()].filter(({ length }) => length > 1)
  const regular = doubled.filter((pair) => pair.every((one) => wanted.includes(one)))
  assert.ok(regular.length <= 1, 'one slot at a time has two')
  for (const pair of doubled) {
    assert.equal(
      pair.filter(({ state }) => state === 'ready').length,
      1,
      'one is ready, one starts',
    )
  }
}

/** A worker stops for a newer one only when that is ready. */
function checkStops(system: FakeSystem, since: number): void {
  for (const [index, event] of system.events.entries()) {
    if (index < since || event.type !== 'worker.stopping') continue
    if (event.reason !== 'a newer one is ready') continue
    const newer = system.events
      .slice(0, index)
      .some((one) => one.type === 'worker.ready' && one.slot === event.slot && one.generation > event.generation) // oxfmt-ignore
    assert.ok(newer, 'its successor is ready')
  }
}

/** Everybody does what is asked of them until nothing more happens. */
async function rest(system: FakeSystem): Promise<void> {
  for (let round = 0; round < 100; round++) {
    for (const child of system.alive) {
      if (child.isAsked) child.obey()
      else if (!child.isReady) child.ready()
      else child.beat()
    }
    await system.world.advance(1_000)
  }
}

function checkRest(system: FakeSystem, target: number): void {
  const slots = system.serving.map((place) => Number(place.split('.')[0]))
  assert.deepEqual(slots, [...Array(target).keys()].map(String).sort().map(Number))
  assert.ok(system.supervisor.workers.every(({ retirement }) => retirement === ''))
  const last = system.events.findLast(({ type }) => type.startsWith('roll.'))
  assert.notEqual(last?.type, 'roll.started', 'a roll has ended or failed')
  if (last?.type !== 'roll.ended') return
  assert.ok(system.serving.every((place) => Number(place.split('.')[1]) >= last.generation))
}

async function end(system: FakeSystem): Promise<void> {
  const before = system.children.length
  system.supervisor.stop('SIGTERM')
  for (const child of system.alive) child.obey()
  assert.deepEqual(await system.supervisor.closed, { code: 0 })
  assert.deepEqual([system.alive.length, system.children.length - before], [0, 0])
  assert.deepEqual([system.released, system.world.timers], [1, 0])
}

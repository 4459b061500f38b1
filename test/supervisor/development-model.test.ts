import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FakeSystem, type FakeChild } from '../helpers/fake-system.ts'

type Step = (system: FakeSystem, which: number) => Promise<void> | void

/** One of them, when there is one. */
function pick(children: readonly FakeChild[], which: number): FakeChild | undefined {
  return children[which % Math.max(1, children.length)]
}

/** Whatever may happen to a supervisor while somebody writes code. */
const STEPS: Readonly<Record<string, Step>> = {
  ready: ({ starting }, which) => pick(starting, which)?.ready(),
  'fail to start': ({ starting }, which) => pick(starting, which)?.exit(1),
  crash: ({ alive }, which) => pick(alive, which)?.exit(null, 'SIGKILL'),
  die: ({ alive }, which) => pick(alive, which)?.say({ t: 'dying', reason: 'failure' }),
  obey: ({ alive }, which) => pick(alive.filter(({ isAsked }) => isAsked), which)?.obey(), // oxfmt-ignore
  'the stub is ready': ({ stubs }) => stubs.at(-1)?.ready(),
  'the stub dies': ({ stubs }) => stubs.at(-1)?.exit(1),
  'the stub leaves': ({ stubs }) => stubs.findLast(({ isAsked }) => isAsked)?.obey(),
  change: ({ supervisor }) => {
    supervisor.pause()
    supervisor.restart('changed')
  },
  quiet: ({ supervisor }) => supervisor.resume(),
  key: ({ supervisor }) => supervisor.restart('asked'),
  'scale up': ({ supervisor }) => supervisor.scaleBy(1),
  'scale down': ({ supervisor }) => supervisor.scaleBy(-1),
  wait: ({ world }, which) => world.advance(which * 10),
  'wait long': ({ world }, which) => world.advance(which * 1_000),
}

const steps = fc.array(fc.tuple(fc.constantFrom(...Object.keys(STEPS)), fc.nat(40)), {
  maxLength: 60,
})
const plans = fc.record({ workers: fc.integer({ min: 1, max: 4 }), steps })

describe('the supervisor in development, whatever happens', () => {
  it('D1 D3 D4 V4 never runs two codes at a time, and runs the newest after a change', async () => {
    const property = fc.asyncProperty(plans, async ({ workers, steps: all }) => {
      const system = new FakeSystem(workers, { development: true, grace: 2_000 })
      system.supervisor.start()
      for (const [name, which] of all) {
        const before = system.children.length
        await STEPS[name]!(system, which)
        checkStarts(system, before)
        checkStub(system)
      }
      await lastChange(system)
      await end(system)
    })
    await fc.assert(property, { numRuns: 500 })
  })
})

/** What is started is of the newest code, and none of the others is left. */
function checkStarts(system: FakeSystem, before: number): void {
  const { children, supervisor, alive } = system
  assert.notEqual(supervisor.state, 'closed')
  if (children.length === before) return
  const newest = Math.max(...children.map(({ generation }) => generation))
  assert.deepEqual([...new Set(alive.map(({ generation }) => generation))], [newest])
}

/** A stub that stays is there only while nobody can answer. */
function checkStub({ stubs, supervisor }: FakeSystem): void {
  const staying = stubs.filter(({ isGone, isAsked }) => !isGone && !isAsked)
  assert.ok(staying.length <= 1)
  if (staying.length === 0) return
  assert.ok(supervisor.workers.every(({ state }) => state === 'stopping'))
}

/** One more change, and code that starts. */
async function lastChange(system: FakeSystem): Promise<void> {
  const { supervisor, world } = system
  supervisor.restart('the last one')
  supervisor.resume()
  for (let round = 0; round < 40; round++) {
    for (const child of [...system.alive, ...system.stubs]) {
      if (child.isAsked) child.obey()
      else if (!child.isReady) child.ready()
    }
    await world.advance(1_000)
  }
  const generations = new Set(supervisor.workers.map(({ generation }) => generation))
  assert.deepEqual([system.serving.length, generations.size], [supervisor.target, 1])
  assert.equal(system.told('roll.ended')?.generation, [...generations][0])
}

async function end(system: FakeSystem): Promise<void> {
  system.supervisor.stop('SIGINT')
  for (const child of system.alive) child.obey()
  assert.deepEqual(await system.supervisor.closed, { code: 0 })
  assert.deepEqual([system.alive.length, system.released, system.world.timers], [0, 1, 0])
}

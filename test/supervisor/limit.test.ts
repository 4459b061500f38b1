import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { limit } from '../../src/supervisor/limit.ts'
import { FakeWorld } from '../helpers/fake-world.ts'

interface Setup {
  readonly world: FakeWorld
  isDebugged: boolean
  /** When it was late. */
  lateAt: number | undefined
  readonly release: () => void
}

function limited(ms: number): Setup {
  const world = new FakeWorld()
  const setup = { world, isDebugged: false, lateAt: undefined as number | undefined }
  const isDebugged = (): boolean => setup.isDebugged
  const late = (): void => void (setup.lateAt = world.now())
  const release = limit(ms, { world, isDebugged, late })
  return Object.assign(setup, { release })
}

describe('a limit', () => {
  it('V7 is over after its time, and a moment for a last word', async () => {
    const setup = limited(8_000)
    await setup.world.advance(60_000)
    assert.equal(setup.lateAt, 8_100)
    assert.equal(setup.world.timers, 0)
  })

  it('is without effect once it is released, at any point', async () => {
    for (const at of [0, 1_000, 2_000, 7_999, 8_050]) {
      const setup = limited(8_000)
      await setup.world.advance(at)
      setup.release()
      await setup.world.advance(60_000)
      assert.deepEqual([setup.lateAt, setup.world.timers], [undefined, 0])
    }
  })

  it('V15 waits again for the part in which the machine was suspended, the last word included', async () => {
    for (const at of [0, 1_000, 5_000, 7_999, 8_050]) {
      const setup = limited(8_000)
      await setup.world.advance(at)
      setup.world.suspend(3_600_000)
      await setup.world.advance(60)
      assert.equal(setup.lateAt, undefined, `suspended at ${at}`)
      await setup.world.advance(10_000)
      assert.notEqual(setup.lateAt, undefined, `suspended at ${at}`)
    }
  })

  it('is not put off by a machine that is merely busy', async () => {
    const setup = limited(1_000)
    for (let part = 0; part < 5; part++) {
      setup.world.suspend(600)
      await setup.world.advance(0)
    }
    assert.notEqual(setup.lateAt, undefined)
  })

  it('V9 begins anew when the debugger has gone', async () => {
    const setup = limited(8_000)
    await setup.world.advance(5_000)
    setup.isDebugged = true
    await setup.world.advance(3_600_000)
    assert.equal(setup.lateAt, undefined)
    setup.isDebugged = false
    await setup.world.advance(6_000)
    assert.equal(setup.lateAt, undefined)
    await setup.world.advance(2_100)
    assert.notEqual(setup.lateAt, undefined)
  })
})

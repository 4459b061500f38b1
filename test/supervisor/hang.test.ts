import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Whereabouts } from '../../src/supervisor/messages.ts'
import { FakeSystem } from '../helpers/fake-system.ts'

/** Workers that are all ready, and are to be heard every 30 s. */
function watched(workers: number): FakeSystem {
  return FakeSystem.running(workers, { hang: 30_000 })
}

describe('a worker that is not heard', () => {
  it('V9 is reported with its stack, and killed when its successor is ready, not before', async () => {
    const system = watched(2)
    const [silent] = system.children
    silent!.beat({ underWay: 3 })
    await system.live(30_200, silent!)
    const { slot, pid, after, underWay, stack } = system.told('worker.hung')!
    assert.deepEqual([slot, pid, after, underWay], [0, 1_000, 30_000, 3])
    assert.match(stack, /at spin/)
    assert.deepEqual([system.last.slot, silent!.isGone], [0, false])
    await system.live(10_000, silent!)
    assert.equal(silent!.isGone, false)
    system.last.ready()
    assert.equal(silent!.isGone, true)
    assert.match(system.told('worker.gone')!.cause, /event loop was blocked; .* lost/)
    assert.equal(system.told('worker.killed')?.doing, 'hanging')
    assert.deepEqual(system.serving, ['0.1', '1.1'])
  })

  it('V9 is not hung as long as it beats, however late', async () => {
    const system = watched(1)
    for (let beat = 0; beat < 10; beat++) {
      await system.world.advance(30_050)
      system.child(0).beat()
    }
    assert.deepEqual(system.names('worker.hung'), [])
  })

  it('V9 is never hung where that is turned off', async () => {
    const system = FakeSystem.running(1)
    await system.world.advance(3_600_000)
    assert.equal(system.children.length, 1)
  })

  it('V9 is told of without a stack where none can be had', async () => {
    const system = watched(1)
    system.child(0).where = { trouble: 'it computes in native code' }
    await system.world.advance(30_200)
    const { stack, trouble } = system.told('worker.hung')!
    assert.deepEqual([stack, trouble], ['', 'it computes in native code'])
  })

  it('V9 that comes back serves on until its successor is ready, and then stops in order', async () => {
    const system = watched(1)
    await system.world.advance(30_200)
    system.child(0).beat()
    assert.deepEqual(system.serving, ['0.1'])
    system.last.ready()
    assert.deepEqual(system.child(0).sent, [
      { t: 'stop', kind: 'retire', reason: 'retired: its event loop was blocked' },
    ])
    system.child(0).obey()
    assert.deepEqual(system.names('worker.killed'), [])
  })

  it('V9 that comes back in the last moment, or is asked to stop then, was not hung', async () => {
    const system = watched(2)
    const answers = system.children.map((child) => {
      const { promise, resolve } = Promise.withResolvers<Whereabouts>()
      child.where = promise
      return resolve
    })
    await system.world.advance(30_200)
    system.child(0).beat()
    system.supervisor.scale(1)
    for (const tell of answers) tell({ stack: '    at spin (app.ts:1:1)' })
    await system.live(1_000)
    assert.deepEqual(system.names('worker.hung'), [])
    assert.equal(system.children.length, 2)
  })

  it('V9 is kept when its successor does not start, which is tried again with back-off', async () => {
    const system = watched(1)
    await system.world.advance(30_200)
    for (let count = 2; count <= 5; count++) {
      assert.equal(system.children.length, count)
      system.last.exit(1)
      await system.world.advance(1_000)
    }
    assert.equal(system.child(0).isGone, false)
    system.last.ready()
    assert.equal(system.child(0).isGone, true)
  })

  it('V7 blocks no stop: it is killed a second after the grace', async () => {
    const system = watched(1)
    await system.world.advance(30_200)
    const since = system.world.now()
    system.supervisor.stop('SIGTERM')
    system.last.obey()
    await system.world.advance(26_100)
    assert.equal(system.child(0).isGone, true)
    assert.deepEqual(await system.supervisor.closed, { code: 1 })
    assert.equal(system.world.now() - since, 26_100)
  })

  it('V7 blocks no roll and no scale-down', async () => {
    const system = watched(2)
    await system.live(30_200, system.child(1))
    system.supervisor.restart('SIGHUP')
    while (system.starting.length > 0) system.starting[0]!.ready()
    assert.deepEqual(system.serving, ['0.2', '1.2'])
    assert.equal(system.told('roll.ended')?.generation, 2)
    const hung = system.children.findLast(({ slot, isGone }) => slot === 1 && !isGone)!
    await system.live(30_200, hung)
    system.supervisor.scale(1)
    await system.live(26_200, hung)
    assert.equal(hung.isGone, true)
    assert.deepEqual(system.serving, ['0.2'])
  })

  it('V15 is not hung when it was the machine, or its supervisor, that slept', async () => {
    for (const at of [0, 10_000, 29_000, 30_050]) {
      const system = watched(1)
      await system.world.advance(at)
      system.world.suspend(3_600_000)
      // It needs its own moment to wake up
      await system.world.advance(90)
      system.child(0).beat()
      await system.live(3_600)
      assert.deepEqual(system.names('worker.hung', 'worker.killed'), [])
    }
  })

  it('V15 is not killed for its start or its stop either', async () => {
    const system = new FakeSystem(1)
    system.supervisor.start()
    await system.world.advance(50_000)
    system.world.suspend(3_600_000)
    await system.world.advance(1_000)
    system.child(0).ready()
    system.supervisor.stop('SIGTERM')
    await system.world.advance(20_000)
    system.world.suspend(3_600_000)
    await system.world.advance(1_000)
    system.child(0).obey()
    assert.deepEqual(await system.supervisor.closed, { code: 0 })
  })

  for (const how of ['traces it', 'has its inspector open'] as const) {
    it(`V9 has no limit while a debugger ${how}: in its start, while it is ready, in its stop`, async () => {
      const system = new FakeSystem(1, { hang: 30_000 })
      system.supervisor.start()
      const [child] = system.children
      if (how === 'traces it') child!.isDebugged = true
      else child!.beat({}, true)
      await system.world.advance(3_600_000)
      child!.ready()
      await system.world.advance(3_600_000)
      system.supervisor.stop('SIGTERM')
      await system.world.advance(3_600_000)
      assert.deepEqual(system.names('worker.hung', 'worker.killed'), [])
      assert.equal(child!.isGone, false)
      child!.isDebugged = false
      child!.beat()
      await system.world.advance(36_000)
      assert.equal(child!.isGone, true)
    })
  }
})

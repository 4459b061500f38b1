import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FakeSystem } from '../helpers/fake-system.ts'

describe('a worker that has served long enough', () => {
  it('V6 is replaced: the successor is ready first, then it stops in order', () => {
    const system = FakeSystem.running(2, { recycling: { requests: 100 } })
    system.child(0).beat({ served: 99 })
    assert.equal(system.children.length, 2)
    system.child(0).beat({ served: 101 })
    assert.equal(system.told('worker.retiring')?.reason, 'it has served 101 requests')
    assert.deepEqual([system.last.slot, system.child(0).sent.length], [0, 0])
    system.last.ready()
    assert.deepEqual(system.child(0).sent, [
      { t: 'stop', kind: 'retire', reason: 'retired: it has served 101 requests' },
    ])
    system.child(0).obey()
    assert.deepEqual(system.serving, ['0.1', '1.1'])
    assert.equal(system.told('worker.gone')?.cause, '')
  })

  it('V6 goes alone: one at a time, never fewer than there should be', () => {
    const system = FakeSystem.running(3, { recycling: { requests: 10 } })
    for (const child of system.alive) child.beat({ served: 10 })
    for (let left = 3; left > 0; left--) {
      assert.deepEqual([system.starting.length, system.alive.filter(({ isAsked }) => isAsked).length], [1, 3 - left]) // oxfmt-ignore
      assert.equal(system.serving.length, 3)
      system.starting[0]!.ready()
    }
    assert.deepEqual([system.starting.length, system.serving.length], [0, 3])
    assert.equal(system.names('worker.retiring').length, 3)
  })

  it('V6 may serve some more by chance', () => {
    const system = FakeSystem.running(1, { recycling: { requests: 100, jitter: 10 } })
    // The dice of this world always say a half
    system.child(0).beat({ served: 104 })
    assert.equal(system.children.length, 1)
    system.child(0).beat({ served: 105 })
    assert.equal(system.children.length, 2)
  })

  it('V6 by its age', async () => {
    const system = FakeSystem.running(1, { recycling: { age: 3_600_000 } })
    await system.world.advance(3_599_000)
    system.child(0).beat()
    assert.equal(system.children.length, 1)
    await system.world.advance(1_000)
    system.child(0).beat()
    assert.equal(system.told('worker.retiring')?.reason, 'it has lived for 3600 s')
  })

  it('V6 by its memory, but not when a fresh one holds as much', () => {
    const system = FakeSystem.running(2, { recycling: { rss: 512 * 1_048_576 } })
    system.child(0).beat({ rss: 100 * 1_048_576 })
    system.child(0).beat({ rss: 512 * 1_048_576 })
    assert.equal(system.told('worker.retiring')?.reason, 'it holds 512 MB of memory')
    for (let beat = 0; beat < 3; beat++) system.child(1).beat({ rss: 600 * 1_048_576 })
    assert.match(system.told('warning')!.message, /600 MB .* as soon as it is ready.*--max-rss/)
    assert.deepEqual(system.names('warning', 'worker.retiring'), ['worker.retiring', 'warning'])
  })

  it('V6 goes on when its successor does not start, which is tried again with back-off', async () => {
    const system = FakeSystem.running(1, { recycling: { requests: 1 } })
    system.child(0).beat({ served: 1 })
    const waits: number[] = []
    for (let failure = 0; failure < 4; failure++) {
      const before = system.children.length
      const since = system.world.now()
      system.last.exit(1)
      while (system.children.length === before) await system.world.advance(10)
      waits.push(system.world.now() - since)
    }
    assert.deepEqual(waits, [0, 100, 200, 400])
    assert.deepEqual(system.serving, ['0.1'])
  })

  it('V6 waits for a roll, which replaces it anyway', () => {
    const system = FakeSystem.running(2, { recycling: { requests: 1 } })
    system.supervisor.restart('SIGHUP')
    system.child(1).beat({ served: 1 })
    system.starting[0]!.ready()
    system.starting[0]!.ready()
    assert.deepEqual(system.serving, ['0.2', '1.2'])
    assert.deepEqual([system.children.length, system.starting.length], [4, 0])
    assert.equal(system.told('roll.ended')?.generation, 2)
  })

  it('V6 is no reason to go on in a stop', async () => {
    const system = FakeSystem.running(1, { recycling: { requests: 1 } })
    system.child(0).beat({ served: 1 })
    system.supervisor.stop('SIGTERM')
    for (const child of system.alive) child.obey()
    assert.deepEqual(await system.supervisor.closed, { code: 0 })
    assert.equal(system.children.length, 2)
  })
})

describe('a worker that asks to be replaced', () => {
  it('V11 goes on until its successor is ready; asking again changes nothing', () => {
    const system = FakeSystem.running(1)
    for (let time = 0; time < 3; time++) system.child(0).say({ t: 'retire', reason: 'SIGTERM' })
    assert.deepEqual([system.children.length, system.child(0).sent.length], [2, 0])
    system.last.ready()
    assert.equal(system.child(0).isAsked, true)
    assert.deepEqual(system.names('worker.retiring'), ['worker.retiring'])
  })

  it('V11 and dies meanwhile is replaced by the one that starts already', () => {
    const system = FakeSystem.running(1)
    system.child(0).say({ t: 'retire', reason: 'SIGTERM' })
    system.child(0).exit(null, 'SIGKILL')
    system.last.ready()
    assert.deepEqual([system.children.length, system.serving], [2, ['0.1']])
  })

  it('V11 and whose place is given up does not come again', () => {
    const system = FakeSystem.running(2)
    system.child(1).say({ t: 'retire', reason: 'SIGTERM' })
    system.supervisor.scale(1)
    for (const child of system.alive.filter(({ isAsked }) => isAsked)) child.obey()
    assert.deepEqual([system.children.length, system.serving], [3, ['0.1']])
  })
})

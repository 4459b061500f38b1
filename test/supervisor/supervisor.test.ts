import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FakeSystem } from '../helpers/fake-system.ts'

describe('the start', () => {
  it('V4 begins with one worker, and with it ready starts the others', () => {
    const system = new FakeSystem(3)
    system.supervisor.start()
    assert.equal(system.alive.length, 1)
    system.child(0).ready()
    assert.deepEqual(
      system.alive.map(({ slot }) => slot),
      [0, 1, 2],
    )
    for (const child of system.starting) child.ready()
    assert.deepEqual(system.serving, ['0.1', '1.1', '2.1'])
    assert.equal(system.supervisor.state, 'running')
  })

  for (const [code, expected] of [
    [1, 1],
    [2, 2],
    [7, 1],
    [0, 1],
    [null, 1],
  ] as const) {
    // oxfmt-ignore
    it(`V4 that fails ends the supervisor once: ${code} becomes ${expected}`, async () => {
      const system = new FakeSystem(4)
      system.supervisor.start()
      system.child(0).exit(code, code === null ? 'SIGKILL' : null)
      assert.deepEqual(await system.supervisor.closed, { code: expected })
      assert.equal(system.children.length, 1)
      assert.equal(system.released, 1)
      assert.notEqual(system.told('worker.gone')?.cause, '')
      await system.world.advance(60_000)
      assert.equal(system.children.length, 1)
    })
  }

  it('V4 that says it fails starts no second worker beside it', async () => {
    const system = new FakeSystem(1)
    system.supervisor.start()
    system.child(0).say({ t: 'dying', reason: 'ERR_DIED' })
    assert.equal(system.children.length, 1)
    system.child(0).exit(1)
    assert.deepEqual(await system.supervisor.closed, { code: 1 })
  })

  it('V4 of a later worker that fails is tried again, with back-off, and ends nothing', async () => {
    const system = new FakeSystem(2)
    system.supervisor.start()
    system.child(0).ready()
    for (let count = 2; count <= 6; count++) {
      system.last.exit(1)
      await system.world.advance(15_000)
      assert.equal(system.children.length, count + 1)
    }
    assert.deepEqual(system.serving, ['0.1'])
  })

  it('V13 has a deadline, which progress puts off', async () => {
    const system = new FakeSystem(1)
    system.supervisor.start()
    await system.world.advance(59_000)
    system.child(0).say({ t: 'progress' })
    await system.world.advance(59_000)
    assert.equal(system.child(0).isGone, false)
    await system.world.advance(1_200)
    assert.equal(system.child(0).isGone, true)
    assert.equal(system.told('worker.killed')?.doing, 'starting')
    assert.equal(system.told('worker.gone')?.cause, 'killed: its start took too long')
    assert.deepEqual(await system.supervisor.closed, { code: 1 })
  })

  it('V14 a stop in the middle of it asks the worker to stop, and is clean', async () => {
    const system = new FakeSystem(2)
    system.supervisor.start()
    system.supervisor.stop('SIGTERM')
    assert.deepEqual(system.child(0).sent, [{ t: 'stop', kind: 'stop', reason: 'SIGTERM' }])
    // Too late: it was said before the stop arrived
    system.child(0).ready()
    assert.equal(system.supervisor.state, 'stopping')
    system.child(0).obey()
    assert.deepEqual(await system.supervisor.closed, { code: 0 })
    assert.equal(system.children.length, 1)
  })

  it('V14 a restart in the middle of it ends with the newest code', () => {
    const system = new FakeSystem(1)
    system.supervisor.start()
    system.supervisor.restart('SIGHUP')
    system.child(0).ready()
    system.child(1).ready()
    assert.deepEqual(system.serving, ['0.2'])
    assert.deepEqual(system.names('roll.ended'), ['roll.ended'])
  })
})

describe('a worker that dies', () => {
  it('V4 is replaced at once, then with a wait that doubles', async () => {
    const system = FakeSystem.running(1)
    const waits: number[] = []
    for (let death = 0; death < 5; death++) {
      const before = system.children.length
      const since = system.world.now()
      system.last.exit(null, 'SIGKILL')
      while (system.children.length === before) await system.world.advance(10)
      waits.push(system.world.now() - since)
      system.last.ready()
    }
    assert.deepEqual(waits, [0, 100, 200, 400, 800])
  })

  it('V4 after a long life is replaced at once again', async () => {
    const system = FakeSystem.running(1)
    system.last.exit(1)
    system.last.ready()
    await system.world.advance(30_000)
    system.last.exit(1)
    assert.equal(system.children.length, 3)
  })

  it('P3 and says so is replaced at once, while it still drains', () => {
    const system = FakeSystem.running(2)
    system.child(0).say({ t: 'dying', reason: 'failure' })
    assert.equal(system.last.slot, 0)
    assert.equal(system.alive.length, 3)
    system.last.ready()
    assert.deepEqual(system.serving, ['0.1', '1.1'])
    system.child(0).obey(1)
    assert.equal(system.alive.length, 2)
    assert.equal(system.told('worker.gone')?.cause, 'stopped, not cleanly: exit code 1')
  })

  it('P3 and says so again and again waits as any other', async () => {
    const system = FakeSystem.running(1)
    for (let death = 0; death < 4; death++) {
      system.last.ready()
      system.last.say({ t: 'dying', reason: 'failure' })
    }
    // The first is replaced at once, the second after 100 ms
    assert.equal(system.children.length, 2)
    await system.world.advance(100)
    assert.equal(system.children.length, 3)
  })

  it('V7 but does not end is killed and named', async () => {
    const system = FakeSystem.running(1)
    system.child(0).say({ t: 'dying', reason: 'failure' })
    await system.world.advance(26_600)
    assert.equal(system.child(0).isGone, true)
    assert.deepEqual(
      [system.told('worker.killed')?.doing, system.told('worker.killed')?.pid],
      ['stopping', 1_000],
    )
  })

  for (const [exit, cause] of [
    [[null, 'SIGKILL'], /memory ran out/],
    [[null, 'SIGABRT'], /heap was exhausted/],
    [[null, 'SIGSEGV'], /native code/],
    [[null, 'SIGTERM'], /^ended by SIGTERM$/],
    [[1, null], /closed nothing: it called process\.exit\(\)/],
    [[0, null], /exit code 0 and closed nothing/],
  ] as const) {
    it(`V16 is named with its likely cause: ${exit.join(' ')}`, () => {
      const system = FakeSystem.running(1)
      system.child(0).exit(exit[0], exit[1])
      assert.match(system.told('worker.gone')?.cause ?? '', cause)
    })
  }
})

describe('a rolling restart', () => {
  it('V2 goes one at a time, the new one ready first', () => {
    const system = FakeSystem.running(2)
    system.supervisor.restart('SIGHUP')
    assert.deepEqual(system.alive.map(({ slot }) => slot), [0, 1, 0]) // oxfmt-ignore
    assert.deepEqual(system.child(0).sent, [])
    system.child(2).ready()
    assert.deepEqual(system.child(0).sent, [
      { t: 'stop', kind: 'roll', reason: 'a newer one is ready' },
    ])
    assert.deepEqual([system.last.slot, system.last.generation], [1, 2])
    system.last.ready()
    assert.deepEqual(system.serving, ['0.2', '1.2'])
    assert.deepEqual(system.names('roll.started', 'roll.ended'), ['roll.started', 'roll.ended'])
  })

  for (const how of ['fails', 'hangs'] as const) {
    it(`V2 whose new worker ${how} keeps the old ones`, async () => {
      const system = FakeSystem.running(2)
      system.supervisor.restart('SIGHUP')
      if (how === 'fails') system.last.exit(1)
      else await system.world.advance(60_100)
      assert.deepEqual(system.names('roll.failed', 'roll.ended'), ['roll.failed'])
      assert.deepEqual(system.serving, ['0.1', '1.1'])
      await system.world.advance(60_000)
      assert.equal(system.children.length, 3)
    })
  }

  it('V2 that has failed is tried again when asked', () => {
    const system = FakeSystem.running(1)
    system.supervisor.restart('SIGHUP')
    system.last.exit(1)
    system.supervisor.restart('SIGHUP')
    system.last.ready()
    assert.deepEqual(system.serving, ['0.3'])
  })

  it('V14 asked for during another ends with the newest code', () => {
    const system = FakeSystem.running(2)
    system.supervisor.restart('first')
    system.supervisor.restart('second')
    while (system.starting.length > 0) {
      assert.equal(system.starting.length, 1)
      system.starting[0]!.ready()
    }
    assert.deepEqual(system.serving, ['0.3', '1.3'])
    assert.equal(system.told('roll.ended')?.generation, 3)
    assert.deepEqual(system.names('roll.started', 'roll.ended', 'roll.failed'), [
      'roll.started',
      'roll.started',
      'roll.ended',
    ])
  })

  it('V14 whose first part fails goes on with the second', () => {
    const system = FakeSystem.running(1)
    system.supervisor.restart('first')
    system.supervisor.restart('second')
    system.last.exit(1)
    assert.equal(system.last.generation, 3)
    system.last.ready()
    assert.deepEqual(system.serving, ['0.3'])
  })

  it('V14 is ended by a stop', async () => {
    const system = FakeSystem.running(2)
    system.supervisor.restart('SIGHUP')
    system.supervisor.stop('SIGTERM')
    assert.ok(system.alive.every(({ isAsked }) => isAsked))
    for (const child of system.alive) child.obey()
    assert.deepEqual(await system.supervisor.closed, { code: 0 })
    assert.equal(system.children.length, 3)
  })

  it('V4 goes on when a worker dies meanwhile', async () => {
    const system = FakeSystem.running(2)
    system.supervisor.restart('SIGHUP')
    system.child(1).exit(1)
    for (const child of system.starting) child.ready()
    await system.world.advance(0)
    assert.deepEqual(system.serving, ['0.2', '1.2'])
    assert.equal(system.told('roll.ended')?.generation, 2)
  })

  it('V2 does not wait for those that were replaced', () => {
    const system = FakeSystem.running(3)
    system.supervisor.restart('SIGHUP')
    while (system.starting.length > 0) system.starting[0]!.ready()
    assert.deepEqual(system.names('roll.ended'), ['roll.ended'])
    assert.equal(system.alive.length, 6)
  })

  it('V4 counts no death for a worker that was replaced and has ended', async () => {
    const system = FakeSystem.running(1)
    system.supervisor.restart('SIGHUP')
    system.child(1).ready()
    system.child(1).exit(1)
    // A replacement is on its way: the end of the old one starts and delays nothing
    system.child(0).obey()
    assert.equal(system.alive.length, 1)
    await system.world.advance(60)
    assert.equal(system.alive.length, 1)
  })
})

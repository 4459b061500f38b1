import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FakeSystem } from '../helpers/fake-system.ts'

describe('scaling', () => {
  it('V5 up starts, down stops the last, never the last of all', () => {
    const system = FakeSystem.running(1)
    system.supervisor.scaleBy(1)
    system.last.ready()
    assert.deepEqual(system.serving, ['0.1', '1.1'])
    system.supervisor.scaleBy(-1)
    assert.deepEqual(system.child(1).sent, [
      { t: 'stop', kind: 'scale', reason: 'there are fewer workers' },
    ])
    system.supervisor.scaleBy(-1)
    assert.deepEqual(system.serving, ['0.1'])
  })

  it('V5 up again while one still drains starts another beside it', () => {
    const system = FakeSystem.running(2)
    system.supervisor.scale(1)
    system.supervisor.scale(2)
    assert.equal(system.alive.length, 3)
    system.last.ready()
    assert.deepEqual(system.serving, ['0.1', '1.1'])
  })

  it('V5 during a roll: what is new is of the newest code, what goes is not waited for', () => {
    const system = FakeSystem.running(2)
    system.supervisor.restart('SIGHUP')
    system.supervisor.scale(3)
    for (const child of system.starting) child.ready()
    system.supervisor.scale(1)
    assert.deepEqual(system.serving, ['0.2'])
    assert.equal(system.told('roll.ended')?.generation, 2)
  })

  it('V5 down during the start of those that go fails nothing', async () => {
    const system = new FakeSystem(2)
    system.supervisor.start()
    system.supervisor.scale(1)
    system.child(0).ready()
    assert.equal(system.children.length, 1)
    system.supervisor.scale(2)
    system.supervisor.scale(1)
    system.child(1).obey()
    assert.equal(system.supervisor.state, 'running')
    assert.equal(system.told('worker.gone')?.cause, '')
  })

  it('V7 down past a stuck worker kills it after its grace', async () => {
    const system = FakeSystem.running(2)
    system.supervisor.scale(1)
    await system.world.advance(26_600)
    assert.deepEqual([system.child(1).isGone, system.alive.length], [true, 1])
  })
})

describe('the stop', () => {
  it('V1 gives up the socket first, then tells the workers', () => {
    const system = FakeSystem.running(1)
    const [child] = system.children
    let sentWhenReleased: number | undefined
    system.release = () => (sentWhenReleased = child!.sent.length)
    system.supervisor.stop('SIGTERM')
    assert.deepEqual([sentWhenReleased, child!.sent.length], [0, 1])
  })

  it('H5 is told to those, too, that leave for newer ones', () => {
    const system = FakeSystem.running(1)
    system.supervisor.restart('SIGHUP')
    system.last.ready()
    system.supervisor.stop('SIGTERM')
    assert.deepEqual(
      system.child(0).sent.map((message) => ('kind' in message ? message.kind : message.t)),
      ['roll', 'stop'],
    )
    assert.equal(system.names('worker.stopping').length, 2)
  })

  it('P2 is not clean when a worker was not', async () => {
    const system = FakeSystem.running(2)
    system.supervisor.stop('SIGTERM')
    system.child(0).obey()
    system.child(1).obey(1)
    assert.deepEqual(await system.supervisor.closed, { code: 1 })
    assert.equal(system.told('supervisor.closed')?.clean, false)
  })

  it('V7 kills what outlives the grace that the service has said', async () => {
    const system = FakeSystem.running(1)
    system.child(0).say({ t: 'loaded', prepares: false, exclusive: [], grace: 60_000 })
    system.supervisor.stop('SIGTERM')
    assert.equal(system.told('supervisor.stopping')?.grace, 60_000)
    await system.world.advance(61_000)
    assert.equal(system.child(0).isGone, false)
    await system.world.advance(1_000)
    assert.equal(system.child(0).isGone, true)
    assert.deepEqual(await system.supervisor.closed, { code: 1 })
  })

  for (const [how, stack] of [
    ['is silent', '    at spin (app.ts:1:1)'],
    ['speaks', undefined],
  ] as const) {
    it(`V7 P11 says where a worker is that is killed, if it ${how}`, async () => {
      const system = FakeSystem.running(1)
      system.supervisor.stop('SIGTERM')
      await system.world.advance(23_000)
      if (how === 'speaks') system.child(0).beat()
      await system.world.advance(3_100)
      assert.equal(system.child(0).isGone, true)
      const { doing, after, stack: told } = system.told('worker.killed')!
      assert.deepEqual([doing, after, told], ['stopping', 26_000, stack])
    })
  }

  for (const clean of [true, false]) {
    it(`V9 ends a process that has closed ${clean ? 'cleanly' : 'not cleanly'} and that a debugger keeps`, async () => {
      const system = FakeSystem.running(1)
      system.child(0).isDebugged = true
      system.supervisor.stop('SIGTERM')
      system.child(0).say({ t: 'closed', clean })
      await system.world.advance(2_000)
      assert.deepEqual(await system.supervisor.closed, { code: clean ? 0 : 1 })
      assert.deepEqual(system.names('worker.killed'), [])
    })
  }

  it('P1 forced: the workers are told, and have the close reserve', async () => {
    const system = FakeSystem.running(1)
    system.supervisor.stop('SIGTERM')
    system.supervisor.force('SIGTERM')
    assert.deepEqual(
      system.child(0).sent.map(({ t }) => t),
      ['stop', 'force'],
    )
    await system.world.advance(6_700)
    assert.equal(system.child(0).isGone, true)
  })

  it('V7 while a dead worker waits for its turn ends at once', async () => {
    const system = FakeSystem.running(1)
    system.last.exit(1)
    system.last.exit(1)
    assert.equal(system.alive.length, 0)
    system.supervisor.stop('SIGTERM')
    assert.deepEqual(await system.supervisor.closed, { code: 0 })
    assert.equal(system.world.timers, 0)
  })

  it('V15 kills nobody whose word came while the machine was suspended', async () => {
    const system = FakeSystem.running(1)
    system.supervisor.stop('SIGTERM')
    // Timers come first, then what was sent meanwhile
    await system.world.advance(26_050)
    system.child(0).obey()
    assert.deepEqual(await system.supervisor.closed, { code: 0 })
    assert.deepEqual(system.names('worker.killed'), [])
  })

  it('is idempotent, as everything is in every state', async () => {
    const system = FakeSystem.running(1)
    const { supervisor } = system
    const poke = (): void => {
      supervisor.stop('again')
      supervisor.restart('again')
      supervisor.scaleBy(1)
      supervisor.stop('again')
    }
    supervisor.stop('SIGTERM')
    poke()
    assert.equal(system.child(0).sent.length, 1)
    assert.equal(system.released, 1)
    system.child(0).obey()
    await supervisor.closed
    poke()
    supervisor.force('again')
    supervisor.start()
    assert.equal(system.children.length, 1)
    assert.deepEqual(system.names('supervisor.stopping', 'supervisor.closed', 'roll.started'), [
      'supervisor.stopping',
      'supervisor.closed',
    ])
    assert.equal(system.world.timers, 0)
  })

  it('after a failure of its own leaves nobody behind, and is not clean', async () => {
    const system = FakeSystem.running(2)
    system.supervisor.fail(new Error('lost its mind'))
    for (const child of system.alive) child.obey()
    assert.deepEqual(await system.supervisor.closed, { code: 1 })
  })
})

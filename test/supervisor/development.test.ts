import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FakeSystem } from '../helpers/fake-system.ts'

const development = { development: true, grace: 2_000 }

/** One that serves, as somebody develops it. */
function developed(workers = 1): FakeSystem {
  return FakeSystem.running(workers, development)
}

describe('a supervisor in development', () => {
  it('D1 starts the new worker when the old one has gone', () => {
    const system = developed()
    system.supervisor.restart('app.ts changed')
    assert.deepEqual(system.child(0).sent, [{ t: 'stop', kind: 'roll', reason: 'it is reloaded' }])
    assert.equal(system.children.length, 1)
    system.child(0).obey()
    assert.deepEqual([system.children.length, system.last.generation], [2, 2])
    system.last.ready()
    assert.deepEqual(system.names('roll.started', 'roll.ended', 'roll.failed'), [
      'roll.started',
      'roll.ended',
    ])
    assert.deepEqual(system.stubs, [])
  })

  it('D1 starts none of several before the last old one has gone', () => {
    const system = developed(3)
    system.supervisor.restart('app.ts changed')
    system.child(2).obey()
    system.child(0).obey()
    assert.equal(system.children.length, 3)
    system.child(1).obey()
    assert.deepEqual(system.starting.map(({ slot }) => slot), [0]) // oxfmt-ignore
    system.last.ready()
    for (const child of system.starting) child.ready()
    assert.deepEqual(system.serving, ['0.2', '1.2', '2.2'])
    assert.equal(system.told('roll.ended')?.generation, 2)
  })

  it('D4 cuts no stop short when there is another change meanwhile', async () => {
    const system = developed()
    system.supervisor.restart('first')
    await system.world.advance(900)
    system.supervisor.restart('second')
    assert.equal(system.child(0).sent.length, 1)
    assert.equal(system.child(0).isGone, false)
    system.child(0).obey()
    system.last.ready()
    assert.deepEqual(system.serving, ['0.3'])
    assert.equal(system.children.length, 2)
  })

  it('D4 stops a start of code that is not the newest in order, and begins anew', () => {
    const system = developed()
    system.supervisor.restart('first')
    system.child(0).obey()
    system.supervisor.restart('second')
    assert.equal(system.child(1).isAsked, true)
    assert.equal(system.children.length, 2)
    system.child(1).exit(1)
    assert.equal(system.last.generation, 3)
    assert.deepEqual(system.names('roll.failed'), [])
  })

  it('D4 starts nothing while it is paused', () => {
    const system = developed()
    system.supervisor.pause()
    system.supervisor.restart('app.ts changed')
    system.child(0).obey()
    assert.equal(system.children.length, 1)
    assert.deepEqual(system.names('roll.ended'), [])
    system.supervisor.resume()
    assert.equal(system.children.length, 2)
  })

  it('D2 kills a worker that does not stop, and goes on', async () => {
    const system = developed()
    system.supervisor.restart('app.ts changed')
    await system.world.advance(3_600)
    assert.equal(system.child(0).isGone, true)
    assert.equal(system.told('worker.killed')?.doing, 'stopping')
    system.last.ready()
    assert.deepEqual(system.serving, ['0.2'])
  })

  it('D3 stays when the first start fails, and starts again with a change', async () => {
    const system = new FakeSystem(2, development)
    system.supervisor.start()
    system.child(0).exit(1)
    await system.world.advance(60_000)
    assert.deepEqual([system.children.length, system.supervisor.state], [1, 'starting'])
    assert.ok(system.supervisor.mayReload, 'steward reload is as good as a change')
    system.supervisor.restart('app.ts changed')
    system.last.ready()
    system.last.ready()
    assert.deepEqual([system.children.length, system.supervisor.state], [3, 'running'])
  })

  it('D4 starts no worker that has died before there is a change', async () => {
    const system = developed(2)
    system.child(1).say({ t: 'dying', reason: 'an error' })
    system.child(1).exit(1)
    await system.world.advance(60_000)
    assert.equal(system.children.length, 2)
    assert.equal(system.stubs.length, 0, 'the other one answers')
    system.supervisor.restart('app.ts changed')
    system.child(0).obey()
    for (let left = 2; left > 0; left--) system.last.ready()
    assert.deepEqual(system.serving, ['0.2', '1.2'])
  })

  it('V14 is ended by a stop in the middle of a reload', async () => {
    const system = developed(2)
    system.supervisor.pause()
    system.supervisor.restart('app.ts changed')
    system.supervisor.stop('SIGINT')
    for (const child of system.alive) child.obey()
    assert.deepEqual(await system.supervisor.closed, { code: 0 })
    assert.equal(system.world.timers, 0)
  })
})

describe('a stub in development', () => {
  it('V4 answers from a failed start to the next change, and requests of a reload wait', () => {
    const system = developed()
    system.supervisor.restart('a change')
    system.child(0).obey()
    assert.equal(system.stubs.length, 0)
    system.last.exit(1)
    assert.deepEqual(system.names('roll.failed'), ['roll.failed'])
    assert.equal(system.stubs.length, 1)
    system.stubs[0]!.ready()
    assert.equal(system.told('stub.ready')?.pid, 5_000)
    system.supervisor.restart('another')
    assert.equal(system.stubs[0]!.isAsked, true)
    assert.equal(system.children.length, 3, 'the new code does not wait for the stub to leave')
    system.last.ready()
    system.stubs[0]!.obey()
    assert.equal(system.stubs.length, 1)
  })

  it('V4 answers while the only worker that dies is still leaving', () => {
    const system = developed()
    system.child(0).say({ t: 'dying', reason: 'an error' })
    assert.equal(system.stubs.length, 1)
    system.child(0).exit(1)
    assert.equal(system.stubs.length, 1)
  })

  it('V4 that dies itself is not tried again before the next failure', async () => {
    const system = developed()
    system.child(0).exit(1)
    system.stubs[0]!.exit(1)
    await system.world.advance(60_000)
    assert.equal(system.stubs.length, 1)
    system.supervisor.restart('a change')
    system.last.exit(1)
    assert.equal(system.stubs.length, 2)
  })

  it('V4 is stopped with the service, and waited for', async () => {
    const system = developed()
    system.child(0).exit(1)
    system.stubs[0]!.ready()
    system.supervisor.stop('SIGINT')
    assert.deepEqual(system.stubs[0]!.sent, [{ t: 'stop', kind: 'stop', reason: 'SIGINT' }])
    assert.equal(system.supervisor.state, 'stopping')
    system.stubs[0]!.obey()
    assert.deepEqual(await system.supervisor.closed, { code: 0 })
  })
})

describe('a stub in production', () => {
  it('V4 answers when no worker was ready for 5 s, and leaves when one is', async () => {
    const system = FakeSystem.running(1)
    system.child(0).exit(1)
    await system.world.advance(4_900)
    assert.equal(system.stubs.length, 0)
    await system.world.advance(200)
    assert.equal(system.stubs.length, 1)
    system.stubs[0]!.ready()
    system.last.ready()
    assert.deepEqual(system.stubs[0]!.sent, [{ t: 'stop', kind: 'roll', reason: 'workers answer' }])
    system.stubs[0]!.obey()
    assert.equal(system.told('stub.gone')?.cause, '')
  })

  it('V4 that dies is started again after 5 s, as long as it is needed', async () => {
    const system = FakeSystem.running(1)
    system.child(0).exit(1)
    await system.world.advance(5_100)
    system.stubs[0]!.ready()
    system.stubs[0]!.exit(1)
    await system.world.advance(4_900)
    assert.equal(system.stubs.length, 1)
    await system.world.advance(200)
    assert.equal(system.stubs.length, 2)
    system.stubs[1]!.exit(1)
    system.last.ready()
    await system.world.advance(60_000)
    assert.equal(system.stubs.length, 2)
  })

  it('V4 is not started while workers come and go in less than that', async () => {
    const system = FakeSystem.running(1)
    for (let count = 0; count < 4; count++) {
      system.last.exit(1)
      await system.world.advance(4_000)
      system.last.ready()
    }
    await system.world.advance(60_000)
    assert.equal(system.stubs.length, 0)
  })

  it('V4 does not answer before there was a worker, nor after the stop', async () => {
    const system = new FakeSystem(1)
    system.supervisor.start()
    await system.world.advance(50_000)
    assert.equal(system.stubs.length, 0)
    system.last.ready()
    system.last.exit(1)
    system.supervisor.stop('SIGTERM')
    for (const child of system.alive) child.obey()
    await system.world.advance(60_000)
    assert.equal(system.stubs.length, 0)
    assert.equal(system.world.timers, 0)
  })

  it('V7 that does not leave is killed, and holds up no stop', async () => {
    const system = FakeSystem.running(1)
    system.child(0).exit(1)
    await system.world.advance(5_100)
    system.stubs[0]!.ready()
    system.last.ready()
    system.supervisor.stop('SIGTERM')
    system.last.obey()
    await system.world.advance(27_000)
    assert.equal(system.stubs[0]!.isGone, true)
    assert.equal(system.supervisor.state, 'closed')
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { SupervisorOptions } from '../../src/supervisor/system.ts'
import type { FakeChild } from '../helpers/fake-system.ts'
import { FakeSystem } from '../helpers/fake-system.ts'

function loads(child: FakeChild, exclusive: readonly string[] = ['lock']): void {
  child.say({ t: 'loaded', grace: 25_000, prepares: false, exclusive })
}

const mayGo = (child: FakeChild): boolean => child.sent.some(({ t }) => t === 'go')

/** One whose only worker holds what only one process may hold. */
function exclusive(options?: Partial<SupervisorOptions>): FakeSystem {
  const system = new FakeSystem(1, options)
  system.supervisor.start()
  loads(system.child(0))
  system.child(0).ready()
  return system
}

describe('a worker that is loaded', () => {
  it('goes on at once where nothing is exclusive, beside the old one', () => {
    const system = FakeSystem.running(1)
    system.supervisor.restart('test')
    loads(system.last, [])
    assert.deepEqual([mayGo(system.last), system.child(0).isAsked], [true, false])
  })

  it('R21 waits for the end of the old one, which is stopped only now', () => {
    const system = exclusive()
    system.supervisor.restart('test')
    assert.equal(system.child(0).isAsked, false, 'it serves while the new one loads')
    loads(system.last)
    const [stop] = system.child(0).sent.slice(-1)
    assert.deepEqual(stop, { t: 'stop', kind: 'handover', reason: 'a newer one waits for its end' })
    assert.equal(mayGo(system.last), false)
    system.child(0).obey()
    assert.equal(mayGo(system.last), true)
    system.last.ready()
    assert.deepEqual(system.serving, ['0.2'])
    assert.equal(system.told('roll.ended')?.generation, 2)
  })

  it('R21 V9 waits for no end of one that hangs: it is killed', async () => {
    const system = exclusive({ hang: 30_000 })
    await system.world.advance(30_200)
    assert.equal(system.child(0).isGone, false)
    loads(system.last)
    assert.deepEqual([system.child(0).isGone, mayGo(system.last)], [true, true])
  })

  it('R21 V6 hands over when it has served long enough', () => {
    const system = exclusive({ recycling: { requests: 10 } })
    system.child(0).beat({ served: 10 })
    loads(system.last)
    system.child(0).obey()
    system.last.ready()
    assert.deepEqual([system.serving, mayGo(system.last)], [['0.1'], true])
  })

  it('R21 waits for one that stops by itself, too', () => {
    const system = exclusive()
    system.child(0).say({ t: 'dying', reason: 'an error' })
    loads(system.last)
    assert.equal(mayGo(system.last), false)
    system.child(0).obey(1)
    assert.equal(mayGo(system.last), true)
  })

  it('R21 has a limit for its start only from the moment on at which it may go on', async () => {
    const system = exclusive()
    system.supervisor.restart('test')
    const fresh = system.last
    loads(fresh)
    await system.world.advance(26_000)
    system.child(0).say({ t: 'closed', clean: true })
    assert.equal(fresh.isGone, false)
    system.child(0).exit(0)
    await system.world.advance(59_000)
    assert.equal(fresh.isGone, false)
    await system.world.advance(2_000)
    assert.equal(fresh.isGone, true)
  })

  it('R21 that fails then is followed by another: nothing else serves', async () => {
    const system = exclusive()
    system.supervisor.restart('test')
    loads(system.last)
    system.child(0).obey()
    system.last.exit(1)
    assert.equal(system.told('roll.failed')?.generation, 2)
    await system.world.advance(15_000)
    loads(system.last)
    assert.equal(mayGo(system.last), true)
  })

  it('is stopped while it waits, and never goes on', () => {
    const system = exclusive()
    system.supervisor.restart('test')
    loads(system.last)
    system.supervisor.stop('test')
    assert.equal(system.last.isAsked, true)
    system.child(0).obey()
    assert.equal(mayGo(system.last), false)
    system.last.exit(0)
    assert.equal(system.supervisor.state, 'closed')
  })

  it('that listens elsewhere ends, is no failure, and is followed by another', () => {
    const system = new FakeSystem(2)
    system.supervisor.start()
    system.child(0).say({ t: 'elsewhere', port: 8_080 })
    system.child(0).exit(0)
    assert.equal(system.supervisor.state, 'starting')
    assert.equal(system.children.length, 2)
    loads(system.last, [])
    system.last.ready()
    assert.equal(system.supervisor.state, 'running')
  })
})

describe('more than one worker', () => {
  it('R21 is refused in words where something is exclusive', () => {
    const system = exclusive()
    const words = 'Cannot scale to 2 workers: "lock" is exclusive, only one process may hold it'
    assert.equal(system.supervisor.scale(2), words)
    assert.equal(system.supervisor.scale(1), undefined)
    system.supervisor.scaleBy(1)
    assert.equal(system.told('warning')?.message, words)
    assert.equal(system.children.length, 1)
  })

  it('R21 becomes one again where nobody knew it yet', () => {
    const system = new FakeSystem(1)
    system.supervisor.start()
    assert.equal(system.supervisor.scale(4), undefined)
    loads(system.child(0))
    system.child(0).ready()
    assert.match(system.told('warning')!.message, /There is one worker and not 4: "lock" is/)
    assert.deepEqual([system.children.length, system.supervisor.target], [1, 1])
  })
})

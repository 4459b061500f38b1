import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Deadline } from '../../src/base/deadline.ts'
import type { ServiceEvent } from '../../src/base/events.ts'
import { bindHooks, LifespanHooks, runHook, type HookSetting } from '../../src/service/hooks.ts'
import { FakeWorld, settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { errorOf, stewardErrorOf } from '../helpers/traced.ts'

function setting(): HookSetting & { world: FakeWorld; events: ServiceEvent[] } {
  const world = new FakeWorld()
  const events: ServiceEvent[] = []
  return {
    world,
    events,
    limit: Deadline.in(1_000, world),
    emit: (event) => void events.push(event),
  }
}

describe('runHook()', () => {
  it('names several hooks of one kind by their number', () => {
    const names = (count: number): string[] =>
      bindHooks(
        'onStartup',
        Array.from({ length: count }, () => () => 1),
        {},
      ).map(({ name }) => name)
    assert.deepEqual([names(1), names(2)], [['onStartup'], ['onStartup 1', 'onStartup 2']])
  })

  it('takes anything that a hook throws, and keeps it as the cause', async () => {
    for (const [thrown, message] of [
      [new Error('no'), 'Cannot finish hook: no'],
      ['no', 'Cannot finish hook: no'],
      [undefined, 'Cannot finish hook: undefined was thrown'],
    ] as const) {
      const throwing = { name: 'hook', run: () => { throw thrown } } // oxfmt-ignore
      const error = await stewardErrorOf(runHook(throwing, setting()))
      assert.deepEqual([error.code, error.message, error.cause], ['ERR_HOOK', message, thrown])
    }
  })

  it('tells an abandoned hook by its signal, and tells of its failure later', async () => {
    const set = setting()
    const end = new Gate()
    let signal: AbortSignal | undefined
    const hook = {
      name: 'hook',
      run: async (context: { signal: AbortSignal }) => {
        signal = context.signal
        await end.opened
        throw new Error('too late')
      },
    }
    const running = errorOf(runHook(hook, set))
    await set.world.advance(1_000)
    const error = await running
    assert.equal((error as { code: string }).code, 'ERR_HOOK_TIMEOUT')
    assert.equal(signal?.reason, error)
    end.open()
    await settled()
    const types = set.events.map(({ type }) => type)
    assert.deepEqual(types, ['hook.started', 'hook.late', 'hook.ended', 'error'])
    assert.equal(set.world.timers, 0)
  })
})

describe('LifespanHooks', () => {
  it('has no second half to run when the first has not come to its yield', async () => {
    const lines: string[] = []
    const come = new Gate()
    async function* lifespan(): AsyncGenerator<void, void, void> {
      await come.opened
      lines.push('first')
      yield
      lines.push('second')
    }
    const hooks = new LifespanHooks(lifespan, {})
    const first = runHook(hooks.before, setting())
    assert.deepEqual(hooks.due(), [])
    come.open()
    await first
    assert.deepEqual(lines, ['first', 'second'])
  })

  it('has none after a first half that threw', async () => {
    async function* lifespan(): AsyncGenerator<void, void, void> {
      if (Date.now() > 0) throw new Error('no')
      yield
    }
    const hooks = new LifespanHooks(lifespan, {})
    assert.equal(
      (await stewardErrorOf(runHook(hooks.before, setting()))).message,
      'Cannot finish lifespan before its yield: no',
    )
    assert.deepEqual(hooks.due(), [])
  })
})

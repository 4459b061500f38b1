import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ServiceEvent } from '../../src/base/events.ts'
import { Notifier, takeNotifySettings } from '../../src/service/notify.ts'
import { FakeSystemd } from '../helpers/fake-systemd.ts'
import { FakeWorld } from '../helpers/fake-world.ts'
import { turns, within } from '../helpers/within.ts'

const opening: ServiceEvent = { type: 'service.opening', name: 'shop' }
const opened: ServiceEvent = { type: 'resource.opened', name: 'pool', took: 1 }
const listening: ServiceEvent = { type: 'service.listening', url: 'http://[::]:3000' }
const ready: ServiceEvent = { type: 'service.ready', took: 1 }
const closed: ServiceEvent = {
  type: 'service.closed',
  clean: true,
  served: { requests: 0, cut: 0, left: 0, refused: 0 },
  took: { stopping: 0, draining: 0, closing: 0 },
  errors: [],
}

function stopping(reason = 'SIGTERM'): ServiceEvent {
  return { type: 'service.stopping', reason, grace: 25_000 }
}

interface Told {
  world: FakeWorld
  warnings: string[]
  /** Resolves at the first warning. */
  warned: Promise<void>
  tell(...events: ServiceEvent[]): void
  progress(): void
}

function notifier({ socket, path }: { socket: string; path: string }, watchdog?: number): Told {
  const world = new FakeWorld()
  const warnings: string[] = []
  const { promise: warned, resolve } = Promise.withResolvers<void>()
  const warn = (message: string): void => {
    warnings.push(message)
    resolve()
  }
  const told = new Notifier({ socket, path, watchdog }, { warn, world })
  const tell = (...events: ServiceEvent[]): void => events.forEach(told.follow)
  return { world, warnings, warned, tell, progress: () => told.progress() }
}

describe('Notifier', () => {
  it('P9 tells READY with where it serves, then STOPPING with the time that the grace takes', async () => {
    using systemd = new FakeSystemd()
    const { tell, warnings } = notifier(systemd)
    tell(opening, listening, ready, stopping())
    assert.deepEqual(await systemd.times(2), [
      ['READY=1', 'STATUS=Serving on http://[::]:3000'],
      ['STOPPING=1', 'STATUS=Stopping (SIGTERM), within 25 s', 'EXTEND_TIMEOUT_USEC=27000000'],
    ])
    tell(closed)
    assert.deepEqual(warnings, [])
  })

  it('P9 tells of a reload between two READY, with the time of its beginning, and how it ended', async () => {
    using systemd = new FakeSystemd()
    const { tell, warnings } = notifier(systemd)
    const worker = { slot: 0, pid: 1, generation: 1 }
    tell({ type: 'supervisor.listening', url: 'http://[::]:3000', workers: 2 })
    tell({ type: 'supervisor.listening', url: 'unix:/run/shop.sock', workers: 2 })
    tell({ type: 'worker.starting', ...worker }, { type: 'worker.ready', took: 1, ...worker })
    // The second one makes nothing ready that is not
    tell({ type: 'worker.ready', took: 1, slot: 1, pid: 2, generation: 1 })
    const before = process.hrtime.bigint() / 1_000n
    tell({ type: 'roll.started', generation: 2, reason: 'SIGHUP' })
    tell({ type: 'roll.ended', generation: 2, took: 1 })
    tell({ type: 'roll.started', generation: 3, reason: 'control' })
    tell({ type: 'roll.failed', generation: 3, took: 1 })
    tell({ type: 'supervisor.stopping', reason: 'SIGTERM', grace: 25_000 })
    const where = 'STATUS=Serving on http://[::]:3000, unix:/run/shop.sock'
    const told = await systemd.times(6)
    const usec = told.flatMap(([, word = '']) => word.match(/^MONOTONIC_USEC=(\d+)$/)?.[1] ?? [])
    assert.deepEqual(
      told.map((words) => words.filter((word) => !word.startsWith('MONOTONIC_USEC='))),
      [
        ['READY=1', where],
        ['RELOADING=1', 'STATUS=Reloading (SIGHUP), to generation 2'],
        ['READY=1', `${where}, generation 2`],
        ['RELOADING=1', 'STATUS=Reloading (control), to generation 3'],
        ['READY=1', `${where}, generation 3 did not start`],
        ['STOPPING=1', 'STATUS=Stopping (SIGTERM), within 25 s', 'EXTEND_TIMEOUT_USEC=27000000'],
      ],
    )
    assert.equal(usec.length, 2)
    for (const one of usec) assert.ok(BigInt(one) >= before && BigInt(one) < before + 60_000_000n)
    tell({ type: 'supervisor.closed', clean: true, took: 1 })
    assert.deepEqual(warnings, [])
  })

  it('P9 asks for more time as long as the first worker of a supervisor makes progress', async () => {
    using systemd = new FakeSystemd()
    const { tell, world, progress } = notifier(systemd)
    tell({ type: 'worker.starting', slot: 0, pid: 1, generation: 1 })
    progress()
    await world.advance(1_500)
    progress()
    progress()
    tell({ type: 'worker.ready', took: 1, slot: 0, pid: 1, generation: 1 })
    await systemd.times(2)
    await world.advance(60_000)
    progress()
    tell({ type: 'worker.starting', slot: 1, pid: 2, generation: 1 })
    await world.advance(60_000)
    progress()
    tell({ type: 'supervisor.stopping', reason: 'SIGTERM', grace: 25_000 })
    const told = await systemd.times(3)
    assert.deepEqual(
      told.map(([first]) => first),
      ['EXTEND_TIMEOUT_USEC=30000000', 'READY=1', 'STOPPING=1'],
    )
  })

  it('P9 asks for more time as long as the start makes progress, once a second at most', async () => {
    using systemd = new FakeSystemd()
    const { tell, world } = notifier(systemd)
    tell(opening, opened, opened)
    await world.advance(1_000)
    tell(opened, opened, { type: 'hook.ended', name: 'onStartup', took: 1 })
    await systemd.times(1)
    await world.advance(60_000)
    // That it waits is no progress
    tell({ type: 'start.waiting', for: [] }, { type: 'hook.started', name: 'onStartup' })
    tell({ type: 'hook.ended', name: 'onStartup', took: 60_000 })
    await systemd.times(2)
    tell(ready)
    await world.advance(5_000)
    // A lazy resource, opened by a request
    tell(opened, stopping())
    const told = await systemd.times(4)
    assert.deepEqual(
      told.map(([first]) => first),
      ['EXTEND_TIMEOUT_USEC=30000000', 'EXTEND_TIMEOUT_USEC=30000000', 'READY=1', 'STOPPING=1'],
    )
  })

  it('P9 feeds the watchdog at half its time, from the readiness to the end', async () => {
    using systemd = new FakeSystemd()
    const { tell, world } = notifier(systemd, 4_000)
    tell(opening)
    await world.advance(10_000)
    tell(ready)
    await systemd.times(1)
    await world.advance(1_999)
    assert.equal(systemd.told.length, 1)
    await world.advance(1)
    await systemd.times(2)
    await world.advance(2_000)
    assert.deepEqual((await systemd.times(3)).slice(1), [['WATCHDOG=1'], ['WATCHDOG=1']])
    tell(stopping())
    await world.advance(2_000)
    assert.deepEqual((await systemd.times(5)).at(-1), ['WATCHDOG=1'])
    tell(closed)
    await world.advance(60_000)
    await turns(20)
    assert.equal(systemd.told.length, 5)
  })

  it('P9 tells one after the other', async () => {
    const begun =
      'echo begun "|" >> "$NOTIFY_SOCKET"; sleep 0.05; echo ended "|" >> "$NOTIFY_SOCKET"'
    using systemd = new FakeSystemd(begun)
    const { tell } = notifier(systemd)
    tell(opening, ready, stopping())
    const told = await systemd.times(6)
    assert.deepEqual(
      told.map(([first]) => first?.trim()),
      ['READY=1', 'begun', 'ended', 'STOPPING=1', 'begun', 'ended'],
    )
  })

  it('P9 tells what is left at the end without waiting for anything', async () => {
    using systemd = new FakeSystemd('exec sleep 60')
    const { tell, world } = notifier(systemd)
    tell(opening, ready, stopping())
    await systemd.times(1)
    tell(closed)
    const told = await systemd.times(2)
    assert.equal(told[1]?.[0], 'STOPPING=1')
    await world.advance(6_000)
  })

  it('P9 ends a program that hangs, says so once, and goes on', async () => {
    using systemd = new FakeSystemd('exec sleep 60')
    const { tell, world, warned, warnings } = notifier(systemd)
    tell(opening, ready, stopping())
    await systemd.times(1)
    await world.advance(6_000)
    await within(5_000, warned, 'the warning')
    assert.equal((await systemd.times(2))[1]?.[0], 'STOPPING=1')
    await world.advance(6_000)
    assert.deepEqual(warnings, [
      'systemd is not told of the service: systemd-notify had not ended after 6 s',
    ])
  })

  it('P9 warns once when there is no systemd-notify, and fails nothing', async () => {
    const { tell, warned, warnings } = notifier({ socket: '@nobody', path: '/nowhere' })
    tell(opening, ready)
    await within(5_000, warned, 'the warning')
    tell(stopping(), closed)
    await turns(20)
    assert.deepEqual(warnings, [
      'systemd is not told of the service: there is no systemd-notify in the PATH; install it, or take Type=exec and no WatchdogSec',
    ])
  })

  it('P9 says what systemd-notify says when it fails', async () => {
    using systemd = new FakeSystemd('echo no such socket >&2; exit 1')
    const { tell, warned, warnings } = notifier(systemd)
    tell(opening, ready)
    await within(5_000, warned, 'the warning')
    assert.deepEqual(warnings, [
      'systemd is not told of the service: systemd-notify failed with exit code 1: no such socket',
    ])
  })

  it('X1 lets no reason speak for the service', async () => {
    using systemd = new FakeSystemd()
    const { tell, warnings } = notifier(systemd)
    tell(opening, stopping(`why\nMAINPID=1\0${'x'.repeat(200_000)}`), closed)
    const [[stop, status] = []] = await systemd.times(1)
    assert.equal(stop, 'STOPPING=1')
    assert.match(status ?? '', /^STATUS=Stopping \(why MAINPID=1 x{100,200}$/)
    assert.deepEqual(warnings, [])
  })
})

describe('takeNotifySettings()', () => {
  const pid = 42

  it('P9 takes the variables out of the environment', () => {
    const env = {
      NOTIFY_SOCKET: '@name',
      WATCHDOG_USEC: '3000000',
      WATCHDOG_PID: '42',
      PATH: '/bin',
    }
    const expected = { socket: '@name', path: '/bin', watchdog: 3_000 }
    assert.deepEqual(takeNotifySettings({ env, pid }), expected)
    assert.deepEqual(env, { PATH: '/bin' })
  })

  it('P9 feeds no watchdog of another process, or without a time', () => {
    for (const more of [
      { WATCHDOG_USEC: '3000000', WATCHDOG_PID: '43' },
      { WATCHDOG_USEC: 'soon' },
      { WATCHDOG_USEC: '0' },
      {},
    ]) {
      const env = { NOTIFY_SOCKET: '/run/notify', ...more }
      assert.equal(takeNotifySettings({ env, pid })?.watchdog, undefined)
    }
  })

  it('P9 does nothing without NOTIFY_SOCKET', () => {
    assert.equal(takeNotifySettings({ env: { WATCHDOG_USEC: '3000000' }, pid }), undefined)
    assert.equal(takeNotifySettings({ env: { NOTIFY_SOCKET: '' }, pid }), undefined)
  })
})

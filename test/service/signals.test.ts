import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ProcessGuard, SignalCount, STOP_SIGNALS } from '../../src/service/signals.ts'
import { FakeWorld } from '../helpers/fake-world.ts'

const count = (): number => STOP_SIGNALS.reduce((sum, name) => sum + process.listenerCount(name), 0)

interface Recorded {
  lines: string[]
  stop(reason: string): void
  force(reason: string): void
  fail(error: unknown): void
}

function recorded(): Recorded {
  const lines: string[] = []
  return {
    lines,
    stop: (reason) => void lines.push(`stop ${reason}`),
    force: (reason) => void lines.push(`force ${reason}`),
    fail: (error) => void lines.push(`fail ${String(error)}`),
  }
}

describe('SignalCount', () => {
  it('P1 counts the same signal within 500 ms once, another one at once', () => {
    const signals = new SignalCount()
    assert.equal(signals.next('SIGTERM', 0), 1)
    assert.equal(signals.next('SIGTERM', 499), 0)
    assert.equal(signals.next('SIGTERM', 500), 2)
    assert.equal(signals.next('SIGINT', 501), 3)
  })

  it('P1 counts from the last that counted', () => {
    const signals = new SignalCount()
    assert.deepEqual(
      [0, 300, 600, 900].map((at) => signals.next('SIGTERM', at)),
      [1, 0, 2, 0],
    )
  })
})

describe('ProcessGuard', () => {
  it('P1 stops, then forces everything that it guards', async () => {
    const world = new FakeWorld()
    const guard = new ProcessGuard(world)
    const [one, other] = [recorded(), recorded()]
    guard.add(one)
    guard.add(other)
    process.emit('SIGTERM', 'SIGTERM')
    process.emit('SIGTERM', 'SIGTERM')
    process.emit('SIGINT', 'SIGINT')
    for (const { lines } of [one, other]) assert.deepEqual(lines, ['stop SIGTERM', 'force SIGINT'])
    assert.equal(guard.remove(one), undefined)
    assert.equal(guard.remove(other), 'SIGTERM')
    await world.advance(500)
  })

  it('L13 listens while it guards, and 500 ms longer for signals', async () => {
    const world = new FakeWorld()
    const guard = new ProcessGuard(world)
    const [before, errors] = [count(), process.listenerCount('uncaughtException')]
    assert.equal(count(), before)
    const one = recorded()
    guard.add(one)
    assert.equal(count(), before + 3)
    assert.equal(process.listenerCount('uncaughtException'), errors + 1)
    process.emit('SIGTERM', 'SIGTERM')
    guard.remove(one)
    assert.equal(process.listenerCount('uncaughtException'), errors)
    await world.advance(499)
    process.emit('SIGTERM', 'SIGTERM')
    assert.equal(count(), before + 3)
    await world.advance(1)
    assert.equal(count(), before)
    assert.deepEqual(one.lines, ['stop SIGTERM'])
  })

  it('L13 goes on when another one is added meanwhile', async () => {
    const world = new FakeWorld()
    const guard = new ProcessGuard(world)
    const before = count()
    const [one, other] = [recorded(), recorded()]
    guard.add(one)
    guard.remove(one)
    guard.add(other)
    await world.advance(1_000)
    assert.equal(count(), before + 3)
    guard.remove(other)
    await world.advance(500)
    assert.equal(count(), before)
  })

  it('L13 keeps listening for a command, and tells it what comes while nothing is guarded', async () => {
    const world = new FakeWorld()
    const guard = new ProcessGuard(world)
    const [before, command, one] = [count(), recorded(), recorded()]
    guard.keep(command)
    guard.add(one)
    process.emit('SIGHUP', 'SIGHUP')
    assert.equal(guard.remove(one), 'SIGHUP')
    await world.advance(1_000)
    assert.equal(count(), before + 3)
    process.emit('SIGINT', 'SIGINT')
    assert.deepEqual([one.lines, command.lines], [['stop SIGHUP'], ['force SIGINT']])
    for (const name of STOP_SIGNALS) process.removeAllListeners(name)
    process.removeAllListeners('uncaughtException').removeAllListeners('unhandledRejection')
  })
})

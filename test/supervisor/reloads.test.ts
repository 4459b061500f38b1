import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Reloads } from '../../src/supervisor/reloads.ts'
import { FakeWorld } from '../helpers/fake-world.ts'

/** Reloads in a world without files: what they do is written down with the time. */
class FakeReloads {
  readonly world = new FakeWorld()
  readonly done: string[] = []
  /** Files whose content is not what was loaded. */
  readonly changed = new Set<string>()
  readonly #reloads = new Reloads({
    world: this.world,
    target: {
      pause: () => this.#note('pause'),
      resume: () => this.#note('resume'),
      restart: (reason) => this.#note(reason),
    },
    hasChanged: (file) => this.changed.delete(file),
    nameOf: (file) => file.replace(/^\/app\//, ''),
  })

  /** A file is written that was not the same before. */
  save(file: string): void {
    this.changed.add(file)
    this.touch(file)
  }

  touch(file: string): void {
    this.#reloads.touched(file)
  }

  outdated(file: string): void {
    this.#reloads.isOutdated(file)
  }

  end(): void {
    this.#reloads.end()
  }

  #note(what: string): void {
    this.done.push(`${this.world.now()} ${what}`)
  }
}

describe('reloads', () => {
  it('D4 stop the workers with the first change, and start them when nothing has changed for 100 ms', async () => {
    const reloads = new FakeReloads()
    reloads.save('/app/db.ts')
    await reloads.world.advance(1_000)
    assert.deepEqual(reloads.done, ['50 pause', '50 db.ts changed', '150 resume'])
  })

  it('D4 make one of a burst of changes, and name the files', async () => {
    const reloads = new FakeReloads()
    for (const file of ['a', 'b', 'c']) reloads.save(`/app/${file}.ts`)
    await reloads.world.advance(100)
    reloads.save('/app/d.ts')
    await reloads.world.advance(90)
    reloads.save('/app/a.ts')
    await reloads.world.advance(1_000)
    assert.deepEqual(reloads.done, ['50 pause', '50 a.ts and 2 more changed', '290 resume'])
  })

  it('D4 start the workers in the middle of changes that do not end', async () => {
    const reloads = new FakeReloads()
    for (let count = 0; count < 60; count++) {
      reloads.save('/app/log.txt')
      await reloads.world.advance(50)
    }
    assert.deepEqual(reloads.done.slice(0, 3), ['50 pause', '50 log.txt changed', '2050 resume'])
  })

  it('D4 do nothing for a file that was touched and is the same', async () => {
    const reloads = new FakeReloads()
    reloads.touch('/app/db.ts')
    await reloads.world.advance(1_000)
    assert.deepEqual(reloads.done, [])
    assert.equal(reloads.world.timers, 0)
  })

  it('D4 do nothing for a file that was emptied and written again as it was', async () => {
    const reloads = new FakeReloads()
    reloads.save('/app/db.ts')
    reloads.changed.clear()
    reloads.touch('/app/db.ts')
    await reloads.world.advance(1_000)
    assert.deepEqual(reloads.done, [])
  })

  it('D4 do not wait longer for a file that was touched while others were saved', async () => {
    const reloads = new FakeReloads()
    reloads.save('/app/db.ts')
    await reloads.world.advance(100)
    reloads.touch('/app/other.ts')
    await reloads.world.advance(1_000)
    assert.deepEqual(reloads.done.at(-1), '150 resume')
  })

  it('D4 begin again with a change after that', async () => {
    const reloads = new FakeReloads()
    reloads.save('/app/a.ts')
    await reloads.world.advance(160)
    reloads.save('/app/b.ts')
    await reloads.world.advance(1_000)
    assert.deepEqual(reloads.done, [
      '50 pause',
      '50 a.ts changed',
      '150 resume',
      '210 pause',
      '210 b.ts changed',
      '310 resume',
    ])
  })

  it('D4 begin at once where two workers have loaded different files', async () => {
    const reloads = new FakeReloads()
    reloads.outdated('/app/a.ts')
    reloads.outdated('/app/b.ts')
    await reloads.world.advance(1_000)
    assert.deepEqual(reloads.done, ['0 pause', '0 a.ts changed', '100 resume'])
  })

  for (const wait of [0, 60]) {
    it(`D5 leave no timer behind at the end: after ${wait} ms`, async () => {
      const reloads = new FakeReloads()
      reloads.save('/app/a.ts')
      await reloads.world.advance(wait)
      reloads.end()
      assert.equal(reloads.world.timers, 0)
    })
  }
})

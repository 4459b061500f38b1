import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Spawned } from '../helpers/spawned.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const MODULE = 'examples/lockfile/app.ts'

/** A folder for one test, and the service in it: its file, and its notes where they are kept when nobody says where. */
function lockfile(): Disposable & {
  path: string
  file: string
  serve: (...args: string[]) => Spawned
  /** In one process, which a debugger's button kills. */
  alone: (...args: string[]) => Spawned
} {
  const folder = temporaryFolder()
  const file = join(folder.path, 'lock')
  const env = { LOCK_FILE: file, XDG_STATE_HOME: join(folder.path, 'state'), STATE_DIRECTORY: '' }
  return {
    file,
    path: folder.path,
    serve: (...args) => new Spawned(MODULE, { env, args: ['--port', '0', ...args] }),
    alone: (...args) =>
      new Spawned(MODULE, { env, args: ['--port', '0', '--no-supervisor', ...args] }),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

const holderIn = (file: string): number => Number(readFileSync(file, 'utf8').split(' ')[0])

describe('examples/lockfile', () => {
  it('holds the file while it runs, and gives it back', async () => {
    using example = lockfile()
    const { file } = example
    await using holder = example.alone()
    const answer = await fetch(await holder.url())

    assert.equal(await answer.text(), `Process ${holder.pid} holds ${file}\n`)
    assert.equal(holderIn(file), holder.pid)

    assert.equal(await holder.stop(), 0)
    assert.equal(existsSync(file), false)
  })

  it('R21 tells a second process whose it is, and leaves it alone', async () => {
    using example = lockfile()
    await using holder = example.alone()
    await holder.url()
    await using second = example.alone()

    assert.equal(await second.ended, 1)
    assert.match(second.errors, new RegExp(`process ${holder.pid} holds it, stop that one first`))
    assert.equal(
      second.log.some(({ event }) => event === 'service.listening'),
      false,
    )
    assert.equal(holderIn(example.file), holder.pid)

    // What the second left is settled by the third, which does not take the file away from the holder
    await using third = example.alone()
    assert.equal(await third.ended, 1)
    assert.equal(holderIn(example.file), holder.pid)

    await holder.stop()
    await using fourth = example.alone()
    await fourth.url()
    assert.equal(holderIn(example.file), fourth.pid)
  })

  it('J2 survives SIGKILL, which is what the stop button of a debugger sends, again and again', async () => {
    using example = lockfile()
    for (let round = 0; round < 3; round++) {
      await using killed = example.alone()
      await killed.url()
      assert.equal(holderIn(example.file), killed.pid)
      assert.equal(await killed.stop('SIGKILL'), 'SIGKILL')
      assert.equal(holderIn(example.file), killed.pid)
    }
    await using next = example.alone()
    await next.url()

    assert.equal(holderIn(example.file), next.pid)
    const { name, attempt } = await next.line('note.settled')
    assert.deepEqual({ name, attempt }, { name: 'lock', attempt: 1 })
    assert.equal(await next.stop(), 0)
    assert.equal(existsSync(example.file), false)
  })

  it('keeps its notes where it is told to', async () => {
    using example = lockfile()
    const state = join(example.path, 'elsewhere')
    await using killed = example.alone('--state', state)
    await killed.url()
    const { folder } = await killed.line('journal.opened')
    assert.equal(folder, join(state, 'lockfile'))
    await killed.stop('SIGKILL')
    await using next = example.alone('--state', state)
    await next.line('note.settled')
  })

  it('R21 is handed on by a reload and by a SIGKILL, one worker after the other', async () => {
    using example = lockfile()
    await using service = example.serve()
    const holder = async (): Promise<number> => {
      const text = await (await fetch(await service.url())).text()
      assert.equal(text, `Process ${holderIn(example.file)} holds ${example.file}\n`)
      return holderIn(example.file)
    }
    const first = await holder()
    assert.notEqual(first, service.pid)

    process.kill(service.pid, 'SIGHUP')
    await service.line('roll.ended')
    const second = await holder()
    assert.notEqual(second, first)

    process.kill(second, 'SIGKILL')
    await service.line('note.settled')
    // It waits in the queue for the one that follows
    assert.notEqual(await holder(), second)

    assert.equal(await service.stop(), 0)
    assert.equal(existsSync(example.file), false)
  })
})

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
} {
  const folder = temporaryFolder()
  const file = join(folder.path, 'lock')
  const env = { LOCK_FILE: file, XDG_STATE_HOME: join(folder.path, 'state'), STATE_DIRECTORY: '' }
  return {
    file,
    path: folder.path,
    serve: (...args) => new Spawned(MODULE, { env, args: ['--port', '0', ...args] }),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

const holderIn = (file: string): number => Number(readFileSync(file, 'utf8').split(' ')[0])

describe('examples/lockfile', () => {
  it('holds the file while it runs, and gives it back', async () => {
    using example = lockfile()
    const { file } = example
    await using holder = example.serve()
    const answer = await fetch(await holder.url())

    assert.equal(await answer.text(), `Process ${holder.pid} holds ${file}\n`)
    assert.equal(holderIn(file), holder.pid)

    assert.equal(await holder.stop(), 0)
    assert.equal(existsSync(file), false)
  })

  it('R21 tells a second process whose it is, and leaves it alone', async () => {
    using example = lockfile()
    await using holder = example.serve()
    await holder.url()
    await using second = example.serve()

    assert.equal(await second.ended, 1)
    assert.match(second.errors, new RegExp(`process ${holder.pid} holds it, stop that one first`))
    assert.equal(
      second.log.some(({ event }) => event === 'service.listening'),
      false,
    )
    assert.equal(holderIn(example.file), holder.pid)

    // What the second left is settled by the third, which does not take the file away from the holder
    await using third = example.serve()
    assert.equal(await third.ended, 1)
    assert.equal(holderIn(example.file), holder.pid)

    await holder.stop()
    await using fourth = example.serve()
    await fourth.url()
    assert.equal(holderIn(example.file), fourth.pid)
  })

  it('J2 survives SIGKILL, which is what the stop button of a debugger sends, again and again', async () => {
    using example = lockfile()
    for (let round = 0; round < 3; round++) {
      await using killed = example.serve()
      await killed.url()
      assert.equal(holderIn(example.file), killed.pid)
      assert.equal(await killed.stop('SIGKILL'), 'SIGKILL')
      assert.equal(holderIn(example.file), killed.pid)
    }
    await using next = example.serve()
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
    await using killed = example.serve('--state', state)
    await killed.url()
    const { folder } = await killed.line('journal.opened')
    assert.equal(folder, join(state, 'lockfile'))
    await killed.stop('SIGKILL')
    await using next = example.serve('--state', state)
    await next.line('note.settled')
  })
})

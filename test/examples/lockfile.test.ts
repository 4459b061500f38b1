import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Spawned } from '../helpers/spawned.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const MODULE = 'examples/lockfile/app.ts'

describe('examples/lockfile', () => {
  it('holds the file while it runs, and gives it back', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'lock')
    await using holder = new Spawned(MODULE, { env: { LOCK_FILE: file } })
    const answer = await fetch(await holder.url())

    assert.equal(await answer.text(), `Process ${holder.pid} holds ${file}\n`)
    assert.equal(readFileSync(file, 'utf8'), `${holder.pid}\n`)

    assert.equal(await holder.stop(), 0)
    assert.equal(existsSync(file), false)
  })

  it('R21 tells a second process whose it is, and leaves it alone', async () => {
    using folder = temporaryFolder()
    const env = { LOCK_FILE: join(folder.path, 'lock') }
    await using holder = new Spawned(MODULE, { env })
    await holder.url()
    await using second = new Spawned(MODULE, { env })

    assert.equal(await second.ended, 1)
    assert.match(second.errors, new RegExp(`process ${holder.pid} holds it, stop that one first`))
    assert.equal(
      second.log.some(({ event }) => event === 'service.listening'),
      false,
    )
    assert.equal(readFileSync(env.LOCK_FILE, 'utf8'), `${holder.pid}\n`)

    await holder.stop()
    await using third = new Spawned(MODULE, { env })
    await third.url()
    assert.equal(readFileSync(env.LOCK_FILE, 'utf8'), `${third.pid}\n`)
  })

  it('says that the holder has died when it was killed', async () => {
    using folder = temporaryFolder()
    const env = { LOCK_FILE: join(folder.path, 'lock') }
    await using killed = new Spawned(MODULE, { env })
    await killed.url()
    assert.equal(await killed.stop('SIGKILL'), 'SIGKILL')
    await using next = new Spawned(MODULE, { env })

    assert.equal(await next.ended, 1)
    const found = `process ${killed.pid} held it and died without giving it back, remove the file`
    assert.match(next.errors, new RegExp(found))
  })
})

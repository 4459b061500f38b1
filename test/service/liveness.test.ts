import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { realWorld } from '../../src/base/world.ts'
import { checkLocal, Lock } from '../../src/service/liveness.ts'
import { root } from '../helpers/repository.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const SOURCE = pathToFileURL(join(root, 'src/service/liveness.ts')).href

/** Can another process take it? It dies with it when it can. */
function takenElsewhere(path: string): string {
  const program = `
    const { Lock } = await import(${JSON.stringify(SOURCE)})
    const lock = await Lock.tryTake(${JSON.stringify(path)})
    console.log(lock ? 'taken' : 'busy')
    process.kill(process.pid, 'SIGKILL')`
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program])
  return String(stdout).trim()
}

describe('Lock', () => {
  it('J3 is held by one at a time, in this process and in others, and ends with its process', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'lock')
    assert.equal(takenElsewhere(path), 'taken')
    const lock = (await Lock.tryTake(path))!
    assert.equal(await Lock.tryTake(path), undefined)
    assert.equal(takenElsewhere(path), 'busy')
    // The second try in this process must not have let the first go: with bare system locks it would have
    assert.equal(takenElsewhere(path), 'busy')
    lock[Symbol.dispose]()
    assert.equal(takenElsewhere(path), 'taken')
    assert.equal(statSync(path).size, 0)
  })

  it('J3 stays held when nobody refers to it and garbage is collected', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'lock')
    const program = `
      const { Lock } = await import(${JSON.stringify(SOURCE)})
      await Lock.tryTake(${JSON.stringify(path)})
      for (let round = 0; round < 5; round++) { gc(); await new Promise((r) => setImmediate(r)) }
      const { spawnSync } = await import('node:child_process')
      const probe = ${JSON.stringify(`const { Lock } = await import(${JSON.stringify(SOURCE)}); console.log((await Lock.tryTake(${JSON.stringify(path)})) ? 'taken' : 'busy')`)}
      console.log(String(spawnSync(process.execPath, ['--input-type=module', '-e', probe]).stdout).trim())`
    const args = ['--expose-gc', '--input-type=module', '-e', program]
    assert.equal(String(spawnSync(process.execPath, args).stdout).trim(), 'busy')
  })

  it('is waited for, until a signal says that it is not', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'lock')
    const lock = (await Lock.tryTake(path))!
    const waiting = Lock.take(path, { world: realWorld })
    const controller = new AbortController()
    const leaving = Lock.take(path, { world: realWorld, signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(leaving, /enough/)
    lock[Symbol.dispose]()
    const next = await waiting
    next.remove()
    assert.equal(existsSync(path), false)
  })

  it('refuses in words what cannot be locked', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'file')
    writeFileSync(file, 'something else '.repeat(100))
    const missing = join(folder.path, 'missing', 'lock')
    for (const path of [file, missing]) {
      await assert.rejects(Lock.tryTake(path), {
        code: 'ERR_JOURNAL',
        message: /^Cannot lock ".+": .+; give a folder/,
      })
    }
  })
})

/** As statfs gives them; those above 2^31 may come as negative. */
const NETWORKS = [
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xff534d42 | 0, 'CIFS'],
  [0xfe534d42, 'SMB'],
] as const

describe('checkLocal()', () => {
  const linux = process.platform === 'linux'

  it(
    'J3 refuses a network file system by its name',
    { skip: !linux && 'only Linux tells what a file system is' },
    async (t) => {
      let type = 0
      const { mock } = t.mock.method(fs, 'statfs', async () => ({ type }))
      syncBuiltinESMExports()
      try {
        for (const [found, name] of NETWORKS) {
          type = found
          const message = `^Cannot keep notes in "/srv/state": it is on ${name}, a network file system`
          await assert.rejects(checkLocal('/srv/state'), {
            code: 'ERR_JOURNAL',
            message: new RegExp(message),
          })
        }
      } finally {
        mock.restore()
        syncBuiltinESMExports()
      }
    },
  )

  it('takes a local one', async () => {
    using folder = temporaryFolder()
    await checkLocal(folder.path)
  })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs' // oxfmt-ignore
import net from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { clearPath, livePaths, takeFolder } from '../../src/supervisor/control-place.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

describe('the place of a control socket', () => {
  it('V11 is a folder that nobody else may enter; one that is open, or no folder, is not taken', () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'steward')
    assert.equal(takeFolder(path), undefined)
    assert.equal(statSync(path).mode & 0o777, 0o700)
    assert.equal(takeFolder(path), undefined)
    chmodSync(path, 0o750)
    assert.match(takeFolder(path)!, /others may enter its folder; chmod 700/)
    const link = join(folder.path, 'link')
    mkdirSync(join(folder.path, 'elsewhere'), { mode: 0o700 })
    symlinkSync(join(folder.path, 'elsewhere'), link)
    assert.match(takeFolder(link)!, /belongs to another user, or is none/)
    const file = join(folder.path, 'file')
    writeFileSync(file, '')
    assert.match(takeFolder(file)!, /belongs to another user, or is none/)
    assert.match(takeFolder(join(file, 'steward'))!, /cannot be made \(ENOTDIR\)/)
  })

  it('is cleared of a socket that was left behind, and of nothing else', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, '1.sock')
    assert.equal(await clearPath(path), undefined)
    leaveSocket(path)
    assert.ok(existsSync(path))
    assert.equal(await clearPath(path), undefined)
    assert.equal(existsSync(path), false)
    writeFileSync(path, '')
    assert.equal(await clearPath(path), 'something else than a socket is there')
    const live = join(folder.path, '2.sock')
    const server = net.createServer().listen(live)
    await once(server, 'listening')
    assert.equal(await clearPath(live), 'another service has it')
    server.close()
    assert.match((await clearPath(join(folder.path, 'x'.repeat(120))))!, /103 bytes are the most/)
  })

  it('shows which services live, and removes what others have left behind', async () => {
    using folder = temporaryFolder()
    const live = join(folder.path, '2.sock')
    const stale = join(folder.path, '1.sock')
    leaveSocket(stale)
    writeFileSync(join(folder.path, 'notes.sock'), '')
    const server = net.createServer().listen(live)
    await once(server, 'listening')
    assert.deepEqual(await livePaths([folder.path, join(folder.path, 'missing')]), [live])
    assert.equal(existsSync(stale), false)
    assert.ok(existsSync(join(folder.path, 'notes.sock')))
    server.close()
  })
})

/** A socket at a path without anybody behind it, as a process that was killed leaves it. */
function leaveSocket(path: string): void {
  const options: object = { path: `${path}.new` }
  using socket = new net.BoundSocket(options)
  assert.ok(socket)
  // What is closed removes the name that it was made with
  renameSync(`${path}.new`, path)
}

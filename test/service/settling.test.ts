import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { realWorld } from '../../src/base/world.ts'
import { perApp, perRequest, service } from '../../src/index.ts'
import { settleNotes } from '../../src/service/settling.ts'
import { notesWait, stateFolderFor } from '../../src/service/state.ts'
import { folderIn, leave, noting, schema, serviceOf, startIn } from '../helpers/journaled.ts'
import { root } from '../helpers/repository.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { Told } from '../helpers/told.ts'

const a = { token: 'a' }
const wait = (folder: string): Promise<boolean> => notesWait(folderIn(folder), realWorld)

describe('notesWait()', () => {
  it('J2 says whether ended processes have left notes, and takes none of the living for one', async () => {
    using folder = temporaryFolder()
    assert.equal(await wait(folder.path), false)
    const running = await startIn(folder.path, { thing: noting('thing', ['a']) })
    assert.equal(await wait(folder.path), false)
    await running.stop()
    assert.equal(await wait(folder.path), false)
    await leave(folder.path, { thing: [a] })
    assert.equal(await wait(folder.path), true)
    assert.equal(await wait(folder.path), true)
  })

  it('looks where the service told that it keeps its notes', async () => {
    using folder = temporaryFolder()
    await using running = await startIn(folder.path, { thing: noting('thing', ['a']) })
    const [opened] = running.told.all('journal.opened')
    assert.equal(opened!.folder, folderIn(folder.path))
  })
})

describe('settleNotes()', () => {
  it('J2 settles in a process that runs no service: opens what recover needs, and nothing else', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [a], lazy: [a] })
    const steps: string[] = []
    const step = (name: string) => () => void steps.push(name)
    const base = perApp(async function* () {
      steps.push('base opens')
      yield 1
      steps.push('base closes')
    })
    const thing = perApp({ base }, step('thing opens'), { note: schema, recover: step('thing') })
    const lazy = perApp(step('lazy opens'), { lazy: true, note: schema, recover: step('lazy') })
    const other = perApp(step('other opens'))
    const audit = perRequest({ lazy }, step('audit opens'))
    const told = new Told()
    const kept = service({
      name: 'kept',
      resources: { thing, other },
      everyRequest: { audit },
      onStartup: step('onStartup'),
    })

    assert.deepEqual(await settleNotes(kept, { state: folder.path, on: told.on }), [])
    assert.deepEqual(steps, ['base opens', 'thing', 'lazy', 'base closes'])
    assert.deepEqual(
      told.all('note.settled').map(({ name }) => name),
      ['thing', 'lazy'],
    )
    assert.equal(await wait(folder.path), false)
  })

  it('J4 tells what failed and gives the names of what waits still', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [a], renamed: [a], other: [a] })
    const told = new Told()
    const thing = noting('thing', [], () => {
      throw new Error('not today')
    })
    const kept = serviceOf({ thing, other: noting('other', []) })
    const left = await settleNotes(kept, { state: folder.path, on: told.on })

    assert.deepEqual(left.toSorted(), ['renamed', 'thing'])
    assert.deepEqual(
      told.all('note.failed').map(({ name }) => name),
      ['thing'],
    )
    assert.deepEqual(
      told.all('note.settled').map(({ name }) => name),
      ['other'],
    )
    assert.match(told.all('warning')[0]!.message, /notes of "renamed"/)
  })

  it('touches no disk for a service that leaves no notes', async () => {
    using folder = temporaryFolder()
    const kept = serviceOf({ plain: perApp(() => 1) })
    assert.deepEqual(await settleNotes(kept, { state: folder.path }), [])
    assert.deepEqual(readdirSync(folder.path), [])
  })
})

describe('a service that leaves no notes', () => {
  /** Does a process that serves load SQLite and our journal, by the time that it is ready? */
  function loads(resource: string): string {
    const source = pathToFileURL(join(root, 'src/index.ts')).href
    const program = `
      const { perApp, service, serve } = await import(${JSON.stringify(source)})
      const validate = (value) => ({ value })
      const schema = { '~standard': { version: 1, vendor: 'test', validate } }
      const running = await serve(service({ resources: { one: ${resource} } }), { port: 0, signals: false })
      console.log(process.moduleLoadList.includes('NativeModule sqlite'))
      await running.stop()`
    using folder = temporaryFolder()
    const env = { ...process.env, XDG_STATE_HOME: folder.path, STATE_DIRECTORY: '' }
    const args = ['--input-type=module', '-e', program]
    const { stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
    return `${stdout.trim()}, ${readdirSync(folder.path).join()}${stderr}`
  }

  it('loads no SQLite and makes no folder', () => {
    assert.equal(loads('perApp(() => 1)'), 'false, ')
    assert.equal(loads('perApp(() => 1, { note: schema, recover() {} })'), 'true, steward')
  })
})

describe('stateFolderFor()', () => {
  const env = { HOME: '/home/me', XDG_STATE_HOME: '/state' }

  it('is a folder for each program, under that of the user', () => {
    const shop = stateFolderFor('/srv/shop/app.ts', env)
    assert.match(shop, /^\/state\/steward\/app\.ts-[0-9a-f]{12}$/)
    assert.equal(stateFolderFor('/srv/shop/../shop/app.ts', env), shop)
    assert.notEqual(stateFolderFor('/srv/chat/app.ts', env), shop)
    const other = stateFolderFor('/srv/shop/app.ts', { ...env, XDG_STATE_HOME: 'not/absolute' })
    assert.match(other, /\/\.local\/state\/steward\/app\.ts-[0-9a-f]{12}$/)
  })

  it('is the one that systemd gives', () => {
    const given = { ...env, STATE_DIRECTORY: '/var/lib/shop:/var/lib/more' }
    assert.equal(stateFolderFor('/srv/shop/app.ts', given), '/var/lib/shop')
    assert.equal(existsSync(join('/var/lib/shop', 'folder.lock')), false)
  })
})

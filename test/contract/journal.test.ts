import assert from 'node:assert/strict'
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { isStewardError, keyed, perApp, service, start } from '../../src/index.ts'
import {
  folderIn,
  filesIn,
  leave,
  noting,
  schema,
  serviceOf,
  startIn,
} from '../helpers/journaled.ts'
import { Gate } from '../helpers/gate.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { within } from '../helpers/within.ts'

const a = { token: 'a' }
const b = { token: 'b' }

/** A `recover` that keeps what it was called with. */
function settler(): { calls: string[]; recover: (note: { token: string }) => void } {
  const calls: string[] = []
  return { calls, recover: ({ token }) => void calls.push(token) }
}

describe('the journal', () => {
  it('J1 has a note on disk when its promise resolves', async () => {
    using folder = temporaryFolder()
    let found = ''
    // So long that no write of it is over before somebody has waited for it
    const token = 'a'.repeat(8_000_000)
    const thing = perApp(
      async function* ({ journal }) {
        await journal.note({ token })
        found = filesIn(folder.path, '.notes')
          .map(({ text }) => text)
          .join('')
        yield 1
      },
      { note: schema, recover: () => {} },
    )
    await using _ = await startIn(folder.path, { thing })
    assert.match(found, /^[0-9a-f]{8} \{"id":1,"of":"thing","note":\{"token":"a+"\}\}\n$/)
    assert.ok(found.includes(token))
  })

  it('J1 strikes it off when the resource has closed, and leaves no file of its process', async () => {
    using folder = temporaryFolder()
    const { calls, recover } = settler()
    for (const _ of [1, 2]) {
      await using running = await startIn(folder.path, {
        thing: noting('thing', ['a', 'b'], recover),
      })
      assert.equal(filesIn(folder.path, '.notes').length, 1)
      assert.equal(running.told.all('journal.opened').length, 1)
    }
    assert.deepEqual(calls, [])
    assert.deepEqual(filesIn(folder.path, '.notes'), [])
    assert.deepEqual(
      filesIn(folder.path, '.lock').map(({ path }) => path),
      [join(folderIn(folder.path), 'folder.lock')],
    )
  })

  it('J1 keeps it when the close fails, and settles it at the next start', async () => {
    using folder = temporaryFolder()
    const { calls, recover } = settler()
    const failing = perApp(
      async function* ({ journal }) {
        await journal.note(a)
        yield 1
        throw new Error('not today')
      },
      { name: 'thing', note: schema, recover },
    )
    const running = await startIn(folder.path, { failing })
    assert.equal((await running.stop()).clean, false)
    await using again = await startIn(folder.path, { thing: noting('thing', [], recover) })

    assert.deepEqual(calls, ['a'])
    assert.deepEqual(
      again.told.all('note.settled').map(({ name, attempt }) => [name, attempt]),
      [['thing', 1]],
    )
  })

  it('J2 settles before the resource opens, with what it stands on, and once', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [a, b] })
    const steps: string[] = []
    const base = perApp(() => (steps.push('base opens'), 'the base'))
    const thing = perApp({ base }, ({ base: on }) => void steps.push(`thing opens on ${on}`), {
      note: schema,
      recover: async ({ token }, { base: on }, { attempt }) => {
        await Promise.resolve()
        steps.push(`settles ${token} with ${on}, attempt ${attempt}`)
      },
    })
    for (const _ of [1, 2]) {
      await using running = await startIn(folder.path, { thing })
      assert.equal(running.state, 'running')
    }
    assert.deepEqual(steps, [
      'base opens',
      'settles a with the base, attempt 1',
      'settles b with the base, attempt 1',
      'thing opens on the base',
      'base opens',
      'thing opens on the base',
    ])
  })

  it('J2 settles what a failed opening in the same process left before the next one', async () => {
    using folder = temporaryFolder()
    const steps: string[] = []
    let fails = true
    const thing = perApp(
      async ({ journal }) => {
        await journal.note(a)
        steps.push('opens')
        if (fails) throw new Error('not yet')
      },
      { lazy: true, note: schema, recover: ({ token }) => void steps.push(`settles ${token}`) },
    )
    await using running = await startIn(folder.path, { thing })
    await assert.rejects(
      running.run({ thing }, () => {}),
      /not yet/,
    )
    fails = false
    await running.run({ thing }, () => {})
    assert.deepEqual(steps, ['opens', 'settles a', 'opens'])
  })

  it('J2 settles at the start what a lazy resource left, and opens only what that needs', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [a] })
    const steps: string[] = []
    const base = perApp(() => void steps.push('base'), { lazy: true })
    const thing = perApp({ base }, () => void steps.push('thing'), {
      lazy: true,
      note: schema,
      recover: ({ token }) => void steps.push(token),
    })
    await using _ = await startIn(folder.path, { thing })
    assert.deepEqual(steps, ['base', 'a'])
  })

  it('J2 settles the notes of a keyed resource when its key is used again', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { 'things(one)': [a] })
    const { calls, recover } = settler()
    const things = keyed((key: string) => noting(key, [], recover))
    await using running = await startIn(folder.path, { things })
    assert.deepEqual(running.told.all('warning'), [])
    await running.run({ things }, ({ things: all }) => all.use('two', () => {}))
    assert.deepEqual(calls, [])
    await running.run({ things }, ({ things: all }) => all.use('one', () => {}))
    assert.deepEqual(calls, ['a'])
  })

  it('J2 never settles in two at a time: the other waits, and finds nothing left', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [a] })
    const begun = new Gate()
    const goOn = new Gate()
    const slow = noting('thing', [], async () => {
      begun.open()
      await goOn.opened
    })
    const { calls, recover } = settler()
    const first = startIn(folder.path, { slow })
    await begun.opened
    const second = startIn(folder.path, { thing: noting('thing', [], recover) })
    // Another resource is not held up
    await using other = await startIn(folder.path, { other: noting('other', ['c']) })
    assert.equal(other.state, 'running')
    goOn.open()
    await using _ = await first
    await using __ = await second
    assert.deepEqual(calls, [])
  })

  it('J3 leaves the notes of whoever holds its lock alone', async () => {
    using folder = temporaryFolder()
    const { calls, recover } = settler()
    await using living = await startIn(folder.path, { thing: noting('thing', ['a'], recover) })
    await using next = await startIn(folder.path, { thing: noting('thing', ['b'], recover) })
    assert.deepEqual(calls, [])
    await living.stop()
    await next.stop()
    assert.deepEqual(calls, [])
  })
})

describe('a recover that fails', () => {
  const failing = (name: string, recover: () => void) => noting(name, [], recover)
  const refuse = (): void => {
    throw new Error('the disk is away')
  }

  it('J4 is told, blocks its own resource in words, and is tried at the next start', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [a, b], other: [a] })
    const { calls, recover } = settler()
    const other = noting('other', [], recover)
    await assert.rejects(
      startIn(folder.path, { other, thing: failing('thing', refuse) }),
      (error) => {
        assert.ok(isStewardError(error, 'ERR_OPEN'))
        assert.match(
          error.message,
          /^Cannot open "thing": 2 notes that an earlier opening left are not settled, the disk is away; .+\(kept in .+kept\)/,
        )
        assert.ok(isStewardError(error.cause, 'ERR_RECOVER'))
        assert.equal(error.cause.errors.length, 2)
        return true
      },
    )
    assert.deepEqual(calls, ['a'])

    const attempts: number[] = []
    const thing = noting('thing', [], (_note, _deps, { attempt }) => void attempts.push(attempt))
    await using again = await startIn(folder.path, { other, thing })
    assert.equal(again.state, 'running')
    assert.deepEqual(attempts, [2, 2])
    assert.deepEqual(calls, ['a'])
  })

  it('J4 of a lazy resource stops no start: whoever uses it is told', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [a] })
    const thing = perApp(() => 1, { lazy: true, note: schema, recover: refuse })
    await using running = await startIn(folder.path, { thing, other: noting('other', ['b']) })

    const failed = running.told.all('note.failed')
    assert.deepEqual(
      failed.map(({ name, attempt, error }) => [name, attempt, String(error)]),
      [['thing', 1, 'Error: the disk is away']],
    )
    await assert.rejects(
      running.run({ thing }, () => {}),
      { code: 'ERR_RECOVER' },
    )
    assert.equal(running.told.all('note.failed').length, 2)
  })

  it('J4 is a note, too, that does not fit the schema of this release', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [{ path: '/tmp/x' }] })
    await assert.rejects(
      startIn(folder.path, { thing: noting('thing', []) }),
      /a note that an earlier opening left is not settled, .*token/,
    )
  })

  it('J4 that does not end is not waited for longer than the opening may take', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [a] })
    const never = new Gate()
    const thing = perApp(() => 1, {
      openTimeout: '50ms',
      note: schema,
      recover: () => never.opened,
    })
    await assert.rejects(
      within(5_000, startIn(folder.path, { thing })),
      /it was not open after 50 ms/,
    )
    never.open()
  })
})

describe('a journal that cannot be read', () => {
  async function corrupted(folder: string, change: (text: string) => string): Promise<string> {
    await leave(folder, { thing: [a, b] })
    const [{ path, text }] = filesIn(folder, '.notes') as [{ path: string; text: string }]
    writeFileSync(path, change(text))
    return change(text)
  }

  it('J5 is set aside and named, and what can be read of it is settled', async () => {
    using folder = temporaryFolder()
    const damaged = await corrupted(folder.path, (text) => text.replace('"a"', '"A"'))
    const { calls, recover } = settler()
    await using running = await startIn(folder.path, { thing: noting('thing', [], recover) })

    assert.deepEqual(calls, ['b'])
    const aside = filesIn(folder.path, '.unreadable')
    assert.deepEqual(
      aside.map(({ text }) => text),
      [damaged],
    )
    const [{ message } = { message: '' }] = running.told.all('warning')
    assert.match(message, /^Notes of an ended process cannot be read \(.+\.notes: line 1\)/)
    assert.ok(message.includes(aside[0]!.path))
    await running.stop()
    await using next = await startIn(folder.path, { thing: noting('thing', [], recover) })
    assert.deepEqual(next.told.all('warning'), [])
    assert.equal(existsSync(aside[0]!.path), true)
  })

  for (const [what, rest] of Object.entries({
    'half a line': '0a1b2c3d {"id":3,"of":"th',
    'zeros that a power cut left': '\0'.repeat(100),
  })) {
    it(`J5 is not one that ends in ${what}: that note was not kept`, async () => {
      using folder = temporaryFolder()
      await corrupted(folder.path, (text) => text + rest)
      const { calls, recover } = settler()
      await using running = await startIn(folder.path, { thing: noting('thing', [], recover) })
      assert.deepEqual(calls, ['a', 'b'])
      assert.deepEqual(running.told.all('warning'), [])
      assert.deepEqual(filesIn(folder.path, '.unreadable'), [])
    })
  }

  it('J5 names notes that no resource settles, and keeps them', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { renamed: [a] })
    for (const _ of [1, 2]) {
      await using running = await startIn(folder.path, { thing: noting('thing', []) })
      const [{ message } = { message: '' }] = running.told.all('warning')
      assert.match(
        message,
        /^An ended process has left notes of "renamed", and nothing here settles/,
      )
    }
    assert.equal(filesIn(folder.path, '.notes').length, 1)
  })
})

describe('a folder for notes', () => {
  it('is not made for a service whose resources leave none', async () => {
    using folder = temporaryFolder()
    await using _ = await startIn(folder.path, { plain: perApp(() => 1) })
    assert.deepEqual(readdirSync(folder.path), [])
  })

  it('that cannot be written fails the opening in words', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'file')
    appendFileSync(file, '')
    await assert.rejects(startIn(file, { thing: noting('thing', ['a']) }), (error) => {
      assert.ok(isStewardError(error))
      assert.match(
        error.message,
        /^Cannot open "thing": Cannot keep notes in ".+": E.+; give a folder that can be written/,
      )
      return true
    })
    assert.equal(readFileSync(file, 'utf8'), '')
  })

  it('that cannot be written stops no start for a lazy resource alone', async () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'file')
    appendFileSync(file, '')
    const thing = perApp(() => 1, { lazy: true, note: schema, recover: () => {} })
    await using running = await startIn(file, { thing })
    assert.match(running.told.all('error')[0]!.message, /^Nobody can tell whether/)
    await assert.rejects(
      running.run({ thing }, () => {}),
      { code: 'ERR_JOURNAL' },
    )
  })

  it('of one service is not that of another: names may hold anything', async () => {
    using folder = temporaryFolder()
    const names = ['a/b', '..', 'a b', 'a%2Fb']
    for (const name of names) {
      const running = await start(service({ name, resources: { thing: noting('thing', ['a']) } }), {
        state: folder.path,
      })
      await running.stop()
    }
    assert.equal(readdirSync(folder.path).length, names.length)
    assert.equal(existsSync(join(folder.path, '..', 'folder.lock')), false)
  })

  it('is said to be missing where none is given', async () => {
    const told: string[] = []
    await using _ = await start(serviceOf({ thing: noting('thing', ['a', 'b']) }), {
      on: (event) => void (event.type === 'warning' && told.push(event.message)),
    })
    assert.equal(told.length, 1)
    assert.match(told[0]!, /^The notes of "thing" are not kept/)
  })
})

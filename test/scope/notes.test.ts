import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isStewardError, open, perApp, perRequest, service, start } from '../../src/index.ts'
import { leave, noting, schema, serviceOf, startIn } from '../helpers/journaled.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

/** What plain JavaScript may write. */
const javascript = perApp as unknown as (...given: unknown[]) => never
const plain = (): number => 1
const recover = (): void => {}

describe('the options note and recover', () => {
  const wrong: Record<string, [given: unknown[], message: RegExp]> = {
    'note without recover': [[plain, { note: schema }], /with "note" alone: give "recover" too/],
    'recover without note': [[plain, { recover }], /with "recover" alone: give "note" too/],
    'a note that is no schema': [
      [plain, { note: { token: 'string' }, recover }],
      /with an object as "note": it is no Standard Schema, pass one of Zod, Valibot or ArkType$/,
    ],
    'null as a note': [[plain, { note: null, recover }], /with null as "note"/],
    'a recover that is no function': [
      [plain, { note: schema, recover: 'rm' }],
      /with "rm" \(string\) as "recover": pass a function/,
    ],
  }
  for (const [what, [given, message]] of Object.entries(wrong)) {
    it(`refuse ${what}`, () => {
      assert.throws(() => javascript(...given), { code: 'ERR_BAD_OPTION', message })
    })
  }

  it('refuse a resource that lives shorter than the app', () => {
    const make = perRequest as unknown as typeof javascript
    assert.throws(() => make(plain, { note: schema, recover }), {
      code: 'ERR_BAD_OPTION',
      message: /^Cannot make a resource of the request with a note: .+ make that one perApp$/,
    })
  })

  it('refuse two resources of one name, whose notes nobody could tell apart', async () => {
    using folder = temporaryFolder()
    const both = { one: noting('lock', []), two: noting('lock', []) }
    await assert.rejects(startIn(folder.path, both), {
      code: 'ERR_BAD_OPTION',
      message: /^Cannot keep the notes of two resources called "lock" apart/,
    })
  })
})

describe('journal.note()', () => {
  /** What a note fails with, of a resource with that schema; `null`: without one. */
  async function failure(value: unknown, note: unknown = schema): Promise<unknown> {
    using folder = temporaryFolder()
    const options = note === null ? {} : { note, recover }
    let failed: unknown
    const thing = javascript(
      async ({ journal }: { journal: { note: (value: unknown) => unknown } }) => {
        await Promise.resolve(journal.note(value)).catch((error: unknown) => (failed = error))
      },
      options,
    )
    await using _ = await startIn(folder.path, { thing })
    return failed
  }
  const anything = {
    '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
  }

  it('refuses what does not fit the schema, by path', async () => {
    const error = await failure({ token: 42 })
    assert.ok(isStewardError(error, 'ERR_NOTE'))
    assert.match(error.message, /^Cannot use a note of "thing": token: .*expected string/)
  })

  it('refuses what JSON cannot keep, or keeps as something that does not fit', async () => {
    const circle: { circle?: unknown } = {}
    circle.circle = circle
    for (const value of [circle, 42n, undefined, () => 1]) {
      const error = await failure(value, anything)
      assert.ok(isStewardError(error, 'ERR_NOTE'))
      assert.match(error.message, /^Cannot note .+ for "thing": JSON cannot keep it/)
    }
    const { z } = await import('zod')
    const error = await failure({ at: new Date() }, z.object({ at: z.date() }))
    assert.ok(isStewardError(error, 'ERR_NOTE'))
    assert.match(error.message, /^Cannot use a note of "thing": at: /)
  })

  it('refuses a resource without the option, and one that is closed', async () => {
    const error = await failure({ token: 'a' }, null)
    assert.ok(isStewardError(error, 'ERR_NOTE'))
    assert.match(error.message, /its options have no "note"/)

    using folder = temporaryFolder()
    let late: () => Promise<void> = async () => {}
    const thing = perApp(({ journal }) => void (late = () => journal.note({ token: 'a' })), {
      note: schema,
      recover,
    })
    const running = await startIn(folder.path, { thing })
    await late()
    await running.stop()
    await assert.rejects(late(), {
      code: 'ERR_NOTE',
      message: /^Cannot note for "thing": it is closed/,
    })
    await using again = await startIn(folder.path, { thing: noting('thing', []) })
    assert.deepEqual(again.told.all('note.settled'), [])
  })

  it('is kept nowhere by open(), which says so once', async () => {
    const warnings: string[] = []
    const things = { one: noting('one', ['a', 'b']), two: noting('two', ['c']) }
    await using _ = await open(things, {
      on: (event) => void (event.type === 'warning' && warnings.push(event.message)),
    })
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!, /^The notes of "(one|two)" are not kept: .+start\(service, \{ state/)
  })

  it('takes many at a time, in a sync or few', async () => {
    using folder = temporaryFolder()
    const settled: string[] = []
    const many = Array.from({ length: 500 }, (_, index) => String(index))
    const thing = perApp(
      async function* ({ journal }) {
        await Promise.all(many.map((token) => journal.note({ token })))
        yield 1
        throw new Error('not closed')
      },
      { name: 'thing', note: schema, recover },
    )
    await (await startIn(folder.path, { thing })).stop()
    const next = noting('thing', [], ({ token }) => void settled.push(token))
    await using _ = await startIn(folder.path, { next })
    assert.deepEqual(settled, many)
  })
})

describe('the state of a service', () => {
  it('is refused when it is no path', async () => {
    for (const state of ['', 42] as string[]) {
      await assert.rejects(start(serviceOf({}), { state }), {
        code: 'ERR_BAD_OPTION',
        message: /as "state": pass the path of a folder$/,
      })
    }
  })

  it('J4 lets a stop end a start whose recover heeds its signal', async () => {
    using folder = temporaryFolder()
    await leave(folder.path, { thing: [{ token: 'a' }] })
    const stop = new AbortController()
    const thing = noting('thing', [], async (_note, _deps, { opening }) => {
      stop.abort()
      await new Promise((_, reject) =>
        opening.addEventListener('abort', () => reject(opening.reason)),
      )
    })
    const starting = start(service({ name: 'kept', resources: { thing } }), {
      state: folder.path,
      signal: stop.signal,
    })
    await assert.rejects(starting, { code: 'ERR_OPEN_ABORTED' })
  })
})

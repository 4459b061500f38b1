import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { open } from '../../src/scope/live.ts'
import { per, perApp, perRequest, type Context, type Resource } from '../../src/scope/resource.ts'
import { settled } from '../helpers/fake-world.ts'
import { collect, errorOf, stewardErrorOf, Trace } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'

describe('an opener', () => {
  const messages = async (resource: Resource<unknown, 'app'>) =>
    (await stewardErrorOf(open({ odd: resource }))).message

  it('R7 without a yield is named', async () => {
    const sync = perApp(function* (): Generator<number> {})
    const asynchronous = perApp(async function* (): AsyncGenerator<number> {})
    for (const odd of [sync, asynchronous]) {
      assert.match(await messages(odd), /"odd": .*its generator ended without a yield/)
    }
  })

  it('R7 with a second yield is named, and ended', async () => {
    for (const kind of ['sync', 'async'] as const) {
      let cleaned = false
      const sync = perApp(function* () {
        try {
          yield 1
          yield 2
        } finally {
          cleaned = true
        }
      })
      const asynchronous = perApp(async function* () {
        try {
          yield 1
          yield 2
        } finally {
          cleaned = true
        }
      })
      const app = await open({ twice: kind === 'sync' ? sync : asynchronous })
      const error = await stewardErrorOf(app.close())
      assert.equal(error.code, 'ERR_SECOND_YIELD')
      assert.match(error.message, /"twice": its generator yielded a second time/)
      assert.equal(cleaned, true)
    }
  })

  it('R7 that throws before its yield gives its own error, with the name', async () => {
    const failure = new Error('early')
    const sync = perApp(function* () {
      if (failure) throw failure
      yield 1
    })
    const error = await stewardErrorOf(open({ sync }))
    assert.equal(error.cause, failure)
    assert.match(error.message, /"sync": early/)
  })

  it('R7 that throws after its yield gives a close error', async () => {
    const failure = new Error('after')
    const sync = perApp(function* () {
      yield 1
      throw failure
    })
    const asynchronous = perApp(async function* () {
      yield 1
      throw failure
    })
    assert.equal(await errorOf((await open({ sync })).close()), failure)
    assert.equal(await errorOf((await open({ asynchronous })).close()), failure)
  })

  it('R7 that never calls the use it asked for is named', async () => {
    const never = [
      perApp(({ use: _use }) => 1),
      perApp(async ({ use: _use }) => 1),
      perApp(async (context: Context) => {
        await settled()
        return typeof context.use
      }),
    ]
    for (const one of never) {
      const error = await stewardErrorOf(open({ never: one }))
      assert.equal((error.cause as { code: string }).code, 'ERR_USE_NEVER')
      assert.match(error.message, /"never": its opener ended without calling use/)
    }
  })

  it('R7 that calls use twice is named', async () => {
    const twice = perApp(async ({ use }) => {
      await use(1)
      return use(2)
    })
    const app = await open({ twice })
    assert.equal(app.values.twice, 1)
    const error = await stewardErrorOf(app.close())
    assert.equal(error.code, 'ERR_USE_TWICE')
    assert.match(error.message, /second value in "twice"/)
  })

  it('may call use before it returns, or long after', async () => {
    const atOnce = perApp(({ use }) => use(1))
    const later = perApp(async (context: Context) => {
      await settled()
      return context.use(2)
    })
    const app = await open({ atOnce, later })
    assert.deepEqual({ ...app.values }, { atOnce: 1, later: 2 })
    await within(1_000, app.close(), 'the close of resources that were used')
  })

  it('closes what a sync generator acquired when the promise that it yields rejects', async () => {
    const trace = new Trace()
    const failure = new Error('handshake')
    const one = perApp(function* () {
      const end = yield Promise.reject(failure)
      trace.add(`ok: ${end.ok}, ${String(end.error)}`)
    })
    const error = await stewardErrorOf(open({ one }))
    assert.equal(error.cause, failure)
    assert.deepEqual(trace.lines, ['ok: false, Error: handshake'])
  })

  it('that says fail while it opens has failed to open', async () => {
    const failure = new Error('gone')
    const now = perApp(({ fail }) => {
      fail(failure)
      return 1
    })
    const later = perApp(async ({ fail }) => {
      await settled()
      fail(failure)
      await new Promise(() => {})
    })
    assert.equal((await stewardErrorOf(open({ now }))).cause, failure)
    assert.equal((await stewardErrorOf(within(1_000, open({ later })))).cause, failure)
  })

  it('L12 tells the app when it dies while it is open, and not when it is closing', async () => {
    const told = collect('error')
    const one = perApp(function* ({ fail }) {
      yield fail
      fail(new Error('killed by its own close'))
    })
    const app = await open({ one }, { on: told.on })
    app.values.one(new Error('crashed'))
    await app.close()
    assert.deepEqual(
      told.events.map(({ message, error }) => `${message}: ${(error as Error).message}`),
      ['"one" has died: crashed'],
    )
  })

  it('spoils its scope when it dies in a shorter one', async () => {
    const failure = new Error('connection lost')
    const endings: unknown[] = []
    const other = perRequest(function* () {
      endings.push(yield 1)
    })
    const socket = perRequest(function* ({ fail }) {
      yield fail
    })
    await using app = await open({})
    const error = await errorOf(app.run({ other, socket }, ({ socket }) => socket(failure)))
    assert.equal(error, failure)
    assert.deepEqual(endings, [{ ok: false, error: failure }])
  })
})

describe('names', () => {
  it('come from the first key, or from the options', async () => {
    const failing = perApp(() => {
      throw new Error('no')
    })
    const named = perApp({ failing }, () => 1, { name: 'the name' })
    const error = await stewardErrorOf(open({ whatever: named }))
    assert.deepEqual(error.path, ['the name', 'failing'])
  })

  it('are known to the opener', async () => {
    const one = perApp(({ name }) => name)
    await using app = await open({ one })
    assert.equal(app.values.one, 'one')
  })
})

describe('wrong use', () => {
  const refused = async (work: () => unknown, message: RegExp): Promise<void> => {
    assert.match((await stewardErrorOf(work)).message, message)
  }

  it('is answered with a sentence', async () => {
    const one = perApp(() => 1)
    await refused(() => perApp(1 as never), /its first argument is 1 \(number\)/)
    await refused(() => perApp(one as never, () => 1), /its first argument is a resource/)
    await refused(() => perApp({}, 2 as never), /its opener is 2 \(number\)/)
    await refused(() => perApp(() => 1, { opentimeout: '1s' } as never), /the option "opentimeout"/)
    await refused(() => perApp(() => 1, 'name' as never), /"name" \(string\) as its options/)
    await refused(
      () => perApp(() => 1, { openTimeout: 5 as never }),
      /5 \(number\) as "openTimeout"/,
    )
    await refused(() => per('', perApp), /its name is "" \(string\)/)
    await refused(() => per('job', one as never), /within an instance of Definition/)
    await refused(() => open({ x: 42 as never }), /it is 42 \(number\), which is no resource/)
    await refused(() => open({ one }, { timeout: 1 } as never), /the option "timeout"/)
  })
})

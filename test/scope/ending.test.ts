import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isStewardError } from '../../src/base/errors.ts'
import { open } from '../../src/scope/live.ts'
import {
  perApp,
  perHandler,
  perRequest,
  type Ending,
  type Resource,
} from '../../src/scope/resource.ts'
import { settled } from '../helpers/fake-world.ts'
import { collect, errorOf, Trace } from '../helpers/traced.ts'

describe('the ending', () => {
  const seen = (): {
    endings: Ending[]
    resources: Record<string, Resource<number, 'request'>>
  } => {
    const endings: Ending[] = []
    return {
      endings,
      resources: {
        sync: perRequest(function* () {
          endings.push(yield 1)
        }),
        asynchronous: perRequest(async function* () {
          endings.push(yield 1)
        }),
      },
    }
  }

  it('R6 runs the code after yield on success, on error, and when the scope is cut', async () => {
    const failure = new Error('no')
    const { endings, resources } = seen()
    const app = await open({})
    await app.run(resources, () => 1)
    await errorOf(app.run(resources, () => Promise.reject(failure)))
    const scope = app.enter(perRequest)
    await scope.run(resources, () => 1)
    await app.close()
    const [good, , bad, , cut] = endings
    assert.equal(endings.length, 6)
    assert.deepEqual([good, bad], [{ ok: true }, { ok: false, error: failure }])
    assert.ok(isStewardError(cut?.error, 'ERR_SCOPE_CLOSED'))
  })

  it('R6 reaches whoever closes by hand, with the status', async () => {
    const { endings, resources } = seen()
    await using app = await open({})
    const scope = app.enter(perRequest)
    await scope.run(resources, () => 1)
    await scope.close({ ok: false, status: 409 })
    assert.deepEqual(endings, [
      { ok: false, status: 409 },
      { ok: false, status: 409 },
    ])
  })

  it('R6 use resolves when the scope ended well, and rejects with its failure: transactions roll back', async () => {
    const trace = new Trace()
    const failure = new Error('no')
    const transaction = async <T>(work: (tx: string) => Promise<T>): Promise<T> => {
      trace.add('begin')
      try {
        const result = await work('tx')
        trace.add('commit')
        return result
      } catch (error) {
        trace.add(`rollback: ${(error as Error).message}`)
        throw error
      }
    }
    const tx = perHandler(({ use }) => transaction((tx) => use(tx)))
    await using app = await open({})
    assert.equal(await app.run({ tx }, ({ tx }) => `${tx} used`), 'tx used')
    assert.equal(await errorOf(app.run({ tx }, () => Promise.reject(failure))), failure)
    assert.deepEqual(trace.take(), ['begin', 'commit', 'begin', 'rollback: no'])
    const scope = app.enter(perHandler)
    await scope.run({ tx }, () => 1)
    await scope.close({ ok: false, status: 500 })
    assert.deepEqual(trace.take(), [
      'begin', 'rollback: Cannot keep what was done: the response has status 500',
    ]) // oxfmt-ignore
  })

  it('R6 reports a failing commit, and a callback API that wraps or swallows the failure is no second error', async () => {
    await using app = await open({})
    const commit = new Error('serialization failure')
    const failure = new Error('body')
    const failingCommit = perHandler(async ({ use }) => {
      const used = await use(1)
      throw Object.assign(commit, { used })
    })
    const wrapping = perHandler(async ({ use }) => {
      try {
        return await use(1)
      } catch (error) {
        throw new Error('rolled back', { cause: error })
      }
    })
    const swallowing = perHandler(async ({ use }) => use(1).catch(() => undefined as never))
    assert.equal(await errorOf(app.run({ failingCommit }, () => 1)), commit)
    assert.equal(await errorOf(app.run({ wrapping }, () => Promise.reject(failure))), failure)
    assert.equal(await errorOf(app.run({ swallowing }, () => Promise.reject(failure))), failure)
  })

  it('R6 reports a callback API that failed before the scope ended', async () => {
    await using app = await open({})
    const failure = new Error('connection lost')
    const lost = perHandler(async ({ use }) => {
      void use(1)
      throw failure
    })
    assert.equal(await errorOf(app.run({ lost }, () => settled())), failure)
  })
})

describe('disposal', () => {
  class Closable {
    readonly closed: string[] = []
    async [Symbol.asyncDispose](): Promise<void> {
      await settled()
      this.closed.push('async')
    }
    [Symbol.dispose](): void {
      this.closed.push('sync')
    }
  }

  it("R9 disposes a plain opener's value with { dispose: true }, asynchronously where it can", async () => {
    const both = perApp(() => new Closable(), { dispose: true })
    const later = perApp(async () => new Closable(), { dispose: true })
    const closed: string[] = []
    const sync = perApp(() => ({ [Symbol.dispose]: () => void closed.push('sync') }), {
      dispose: true,
    })
    const app = await open({ both, later, sync })
    const values = { ...app.values }
    await app.close()
    assert.deepEqual(
      [values.both.closed, values.later.closed, closed],
      [['async'], ['async'], ['sync']],
    )
  })

  it('R9 disposes nothing without, and warns once', async () => {
    const told = collect('warning')
    const undecided = perRequest(() => new Closable())
    const decided = perRequest(() => new Closable(), { dispose: false })
    const generator = perRequest(function* () {
      yield new Closable()
    })
    const app = await open({}, { on: told.on })
    const wanted = { undecided, decided, generator }
    for (let i = 0; i < 3; i++) {
      const values = await app.run(wanted, (all) => ({ ...all }))
      for (const one of Object.values(values)) assert.deepEqual(one.closed, [])
    }
    await app.close()
    assert.equal(told.events.length, 1)
    assert.match(
      told.events[0]!.message,
      /^"undecided" gives a value with a disposer, which is not called/,
    )
  })

  it('R9 takes { dispose: true } for a value without a disposer', async () => {
    const plain = perApp(() => 1, { dispose: true })
    const app = await open({ plain })
    await app.close()
  })

  it('reports a disposer that throws', async () => {
    const failure = new Error('no')
    const fails = perApp(
      () => ({
        [Symbol.dispose]() {
          throw failure
        },
      }),
      { dispose: true },
    )
    const app = await open({ fails })
    assert.equal(await errorOf(app.close()), failure)
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { App } from '../../src/scope/app.ts'
import { requestKind } from '../../src/scope/kind.ts'
import { open } from '../../src/scope/live.ts'
import { per, perApp, perHandler, perRequest, type Resource } from '../../src/scope/resource.ts'
import { settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { collect, errorOf, stewardErrorOf, Trace } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'

const perMessage = per('message', perHandler)
const perJob = per('job', perApp)

/** One resource of each scope, standing on one another. */
function nested(trace: Trace) {
  const pool = trace.app('pool')
  const session = perRequest({ pool }, () => trace.life('session'))
  const tx = perHandler({ session }, () => trace.life('tx'))
  const step = perMessage({ tx }, () => trace.life('step'))
  return { pool, session, tx, step }
}

describe('scopes', () => {
  it('app ⊃ request ⊃ handler ⊃ message: each value lives exactly as long as its scope', async () => {
    const trace = new Trace()
    const { pool, session, tx, step } = nested(trace)
    const app = await open({ pool })
    const request = app.enter(perRequest)
    const handler = request.enter(perHandler)
    const opened: string[][] = []
    for (const wanted of [{ session }, { tx }, { step }, { step }]) {
      await handler.run(wanted as { tx: typeof tx }, () => trace.add('work'))
      opened.push(trace.take())
    }
    assert.deepEqual(opened, [
      ['open pool', 'open session', 'work'],
      ['open tx', 'work'],
      ['open step', 'work', 'close step', 'closed step'],
      ['open step', 'work', 'close step', 'closed step'],
    ])
    await handler.close()
    assert.deepEqual(trace.take(), ['close tx', 'closed tx'])
    await request.close()
    assert.deepEqual(trace.take(), ['close session', 'closed session'])
    await app.close()
    assert.deepEqual(trace.take(), ['close pool', 'closed pool'])
  })

  it('are entered all the way down by one run, and closed innermost first', async () => {
    const trace = new Trace()
    const { step } = nested(trace)
    await using app = await open({})
    await app.run({ step }, () => trace.add('work'))
    assert.deepEqual(trace.lines, [
      'open pool', 'open session', 'open tx', 'open step', 'work', 'close step', 'closed step',
      'close tx', 'closed tx', 'close session', 'closed session',
    ]) // oxfmt-ignore
  })

  it('closing a parent first ends its open children, from the innermost', async () => {
    const trace = new Trace()
    const { pool, session, tx } = nested(trace)
    const app = await open({ pool })
    const request = app.enter(perRequest)
    await request.run({ session }, () => 0)
    const handler = request.enter(perHandler)
    await handler.run({ tx }, () => 0)
    trace.take()
    await app.close()
    assert.deepEqual(trace.take(), [
      'close tx', 'closed tx', 'close session', 'closed session', 'close pool', 'closed pool',
    ]) // oxfmt-ignore
    await handler.close()
    await request.close()
    assert.deepEqual(trace.take(), [])
  })

  it('R9 a child never closes what belongs to its parent, though it used it first', async () => {
    const trace = new Trace()
    const lazy = trace.app('lazy')
    const user = perRequest({ lazy }, ({ lazy }) => lazy)
    const app = await open({})
    for (let i = 0; i < 2; i++) await app.run({ user }, () => 0)
    assert.deepEqual(trace.take(), ['open lazy'])
    await app.close()
    assert.deepEqual(trace.take(), ['close lazy', 'closed lazy'])
  })

  it('R12 two requests share values of the app and nothing else; within one, a value is opened once', async () => {
    let count = 0
    const shared = perApp(() => ({}))
    const own = perRequest({ shared }, ({ shared }) => ({ shared, id: ++count }))
    await using app = await open({ shared })
    await using one = app.enter(perRequest)
    await using other = app.enter(perRequest)
    const first = await one.run({ own }, ({ own }) => own)
    const again = await one.run({ own }, ({ own }) => own)
    const second = await other.run({ own }, ({ own }) => own)
    assert.equal(first, again)
    assert.notEqual(first, second)
    assert.equal(first.shared, second.shared)
  })

  it('R1 concurrent first use inside one request opens once', async () => {
    let opened = 0
    const gate = new Gate()
    const own = perRequest(async () => {
      await gate.opened
      return ++opened
    })
    await using app = await open({})
    await using request = app.enter(perRequest)
    const uses = [1, 2, 3].map(() => request.run({ own }, ({ own }) => own))
    gate.open()
    assert.deepEqual(await Promise.all(uses), [1, 1, 1])
  })

  it('R4 a failed open inside a request is tried again by the next use, in the same request too', async () => {
    let attempts = 0
    const flaky = perRequest(async () => {
      if (++attempts === 1) throw new Error('first')
      return attempts
    })
    await using app = await open({})
    await using request = app.enter(perRequest)
    const both = await Promise.allSettled([1, 2].map(() => request.run({ flaky }, () => 0)))
    assert.deepEqual(
      both.map(({ status }) => status),
      ['rejected', 'rejected'],
    )
    assert.equal(await request.run({ flaky }, ({ flaky }) => flaky), 2)
  })

  it("R19 an opener's own error reaches the work's caller as it is, also from a lazy app resource", async () => {
    const unauthorized = { status: 401 }
    const fails = (): never => {
      throw unauthorized
    }
    const user = perRequest(fails)
    const orders = perRequest({ user }, () => 0)
    const lazy = perApp(async () => fails(), { lazy: true })
    const late = perHandler({ lazy }, () => 0)
    await using app = await open({})
    assert.equal(await errorOf(app.run({ orders }, () => 0)), unauthorized)
    assert.equal(await errorOf(app.run({ late }, () => 0)), unauthorized)
  })

  it('tells of a second opener that failed when the first failure had ended the work', async () => {
    const told = collect('error')
    const gate = new Gate()
    const first = perRequest(() => Promise.reject(new Error('first')))
    const second = perRequest(async () => {
      await gate.opened
      throw new Error('second')
    })
    await using app = await open({}, { on: told.on })
    const error = errorOf(app.run({ first, second }, () => 0))
    await settled()
    gate.open()
    assert.equal(((await error) as Error).message, 'first')
    assert.deepEqual(
      told.events.map((event) => (event.error as Error).message),
      ['second'],
    )
  })

  it('closes what a failing run had opened, and what opens late', async () => {
    const trace = new Trace()
    const opened = perRequest(() => trace.life('opened'))
    const late = perRequest(async function* ({ opening }) {
      const aborted = new Gate()
      opening.addEventListener('abort', () => aborted.open())
      await aborted.opened
      yield* trace.life('late')
    })
    const failing = perRequest({ opened }, () => Promise.reject(new Error('no')))
    await using app = await open({})
    await errorOf(
      within(
        1_000,
        app.run({ failing, late }, () => 0),
      ),
    )
    assert.deepEqual(trace.lines, [
      'open opened', 'open late', 'close late', 'closed late', 'close opened', 'closed opened',
    ]) // oxfmt-ignore
  })

  it('an opener that ends its own scope has failed, and nothing that stands on it opens', async () => {
    const app = new App()
    const scope = app.scope.enter(requestKind)
    const trace = new Trace()
    const ender = perRequest(function* () {
      void scope.end({ ok: true })
      yield 1
      trace.add('closed')
    })
    const above = perRequest({ ender }, () => trace.add('above'))
    const opening = async (): Promise<void> => scope.open(app.graph.plan({ above }))
    const failure = (await errorOf(within(1_000, opening()))) as { error: { code: string } }
    assert.equal(failure.error.code, 'ERR_OPEN_ABORTED')
    assert.deepEqual(trace.lines, ['closed'])
  })
})

describe('a closed scope', () => {
  it('R14 refuses every use in words that name it', async () => {
    const one = perApp(() => 1)
    const own = perRequest(() => 1)
    const app = await open({ one })
    const request = app.enter(perRequest)
    await request.close()
    const refused = async (work: () => unknown, message: RegExp): Promise<void> => {
      const error = await stewardErrorOf(work)
      assert.equal(error.code, 'ERR_SCOPE_CLOSED')
      assert.match(error.message, message)
    }
    await refused(() => request.run({ own }, () => 0), /run work: the request scope is closed/)
    await refused(() => request.enter(perHandler), /enter a handler scope: the request scope is/)
    await app.close()
    await refused(() => app.run({ one }, () => 0), /the app scope is closed/)
    await refused(() => app.enter(perRequest), /Cannot enter a request scope: the app scope is/)
    await refused(() => app.values.one, /Cannot read "one": the app scope is closed/)
  })

  it('refuses new work from the moment it closes, while work under way goes on', async () => {
    const gate = new Gate()
    const own = perRequest(() => 1)
    const app = await open({})
    const work = app.run({ own }, async () => {
      await gate.opened
      return 'done'
    })
    await settled()
    const closing = app.close()
    assert.equal((await stewardErrorOf(app.run({ own }, () => 0))).code, 'ERR_SCOPE_CLOSED')
    gate.open()
    assert.equal(await work, 'done')
    await closing
  })

  it('waits for work in scopes within scopes, and for work that needs no scope of its own', async () => {
    for (const level of ['app', 'request', 'handler'] as const) {
      const trace = new Trace()
      const gate = new Gate()
      const one = perApp(() => trace.life('one'))
      const tx = perHandler(() => trace.life('tx'))
      const app = await open({ one })
      const request = app.enter(perRequest)
      const wanted: Record<string, Resource<unknown>> = level === 'handler' ? { tx } : { one }
      const work = (level === 'app' ? app : request).run(
        wanted as { one: typeof one },
        () => gate.opened,
      )
      await settled()
      trace.take()
      const closing = app.close()
      await settled()
      assert.deepEqual(trace.take(), [], level)
      gate.open()
      await within(1_000, Promise.all([work, closing]))
      assert.equal(trace.lines.at(-1), 'closed one')
    }
  })
})

describe('scopes of one’s own', () => {
  it('hold a piece of work: per("job", perApp) with app.run', async () => {
    const trace = new Trace()
    const pool = trace.app('pool')
    const folder = perJob({ pool }, () => trace.life('folder'))
    const app = await open({ pool })
    assert.equal(
      await app.run({ folder, pool }, ({ folder, pool }) => `${folder} ${pool}`),
      'folder pool',
    )
    assert.deepEqual(trace.take(), ['open pool', 'open folder', 'close folder', 'closed folder'])
    await app.close()
  })

  it('of the same name are refused', async () => {
    const mine = per('job', perApp)(() => 1)
    const theirs = per('job', perApp)(() => 2)
    await using app = await open({})
    await app.run({ mine }, () => 0)
    const error = await stewardErrorOf(app.run({ theirs }, () => 0))
    assert.equal(error.code, 'ERR_SCOPE_UNKNOWN')
    assert.match(error.message, /two scopes called "job"/)
  })

  it('that do not lie within one another are refused', async () => {
    const folder = perJob(() => 1)
    const tx = perHandler(() => 1)
    await using app = await open({})
    await using request = app.enter(perRequest)
    await using handler = request.enter(perHandler)
    const refusals: [() => unknown, RegExp][] = [
      [() => request.run({ folder }, () => 0), /of the job inside a request scope/],
      [() => app.run({ folder, tx }, () => 0), /of the job and of the handler together/],
      [() => handler.enter(perRequest), /the request scope: it does not lie within this handler/],
      [() => request.enter(perRequest), /the request scope: it does not lie within this request/],
      [() => request.enter(perJob), /of the job inside a request scope/],
    ]
    for (const [work, message] of refusals) {
      const error = await stewardErrorOf(work)
      assert.equal(error.code, 'ERR_SCOPE_UNKNOWN')
      assert.match(error.message, message)
    }
    assert.match(
      (await stewardErrorOf(() => app.enter(1 as never))).message,
      /1 \(number\): it is no/,
    )
  })
})

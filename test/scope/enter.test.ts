import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { App } from '../../src/scope/app.ts'
import { input, run, signal, stopping } from '../../src/scope/builtin.ts'
import { requestKind } from '../../src/scope/kind.ts'
import { open } from '../../src/scope/live.ts'
import { perHandler, perRequest } from '../../src/scope/resource.ts'
import { endWithin, enterTo, runIn } from '../../src/scope/run.ts'
import { settled } from '../helpers/fake-world.ts'
import { stewardErrorOf, Trace } from '../helpers/traced.ts'

describe('built-in resources', () => {
  it('stopping is aborted at the first moment of the close, while work goes on', async () => {
    const app = await open({ stopping })
    const values = { ...app.values }
    const work = app.run({ stopping, own: perRequest(() => 1) }, async ({ stopping }) => {
      await new Promise((resolve) => stopping.addEventListener('abort', resolve))
      return stopping.reason as { code: string }
    })
    await settled()
    await app.close()
    assert.equal((await work).code, 'ERR_STOPPING')
    assert.equal(values.stopping.aborted, true)
  })

  it('run opens a handler scope for each piece of work', async () => {
    const trace = new Trace()
    const tx = perHandler(() => trace.life('tx'))
    await using app = await open({})
    await app.run({ run }, async ({ run }) => {
      await run({ tx }, () => trace.add('first'))
      await run({ tx }, () => trace.add('second'))
    })
    assert.deepEqual(trace.lines, [
      'open tx', 'first', 'close tx', 'closed tx', 'open tx', 'second', 'close tx', 'closed tx',
    ]) // oxfmt-ignore
  })

  it('R8 what a scope was not entered with is refused in words', async () => {
    const request = input<{ url: string }, 'request', 'request'>(requestKind, 'request')
    const user = perRequest({ request }, ({ request }) => request.url)
    await using app = await open({})
    const error = await stewardErrorOf(app.run({ user } as never, () => 0))
    assert.equal(error.code, 'ERR_NEEDS')
    assert.match(error.message, /Cannot open "request": this request scope has none/)
  })

  it('come from the nearest scope that was entered with them', async () => {
    const app = new App({ inputs: { signal: AbortSignal.abort('the app') } })
    const request = input<string, 'request', 'request'>(requestKind, 'request')
    const user = perHandler({ request, signal }, (deps) => [deps.request, deps.signal.reason])
    const scope = app.scope.enter(requestKind, { request: 'GET /' })
    assert.deepEqual(await runIn(scope, { user }, ({ user }: { user: unknown }) => user), [
      'GET /',
      'the app',
    ])
    await scope.end({ ok: true })
  })
})

describe('enterTo() and endWithin()', () => {
  it('give the inputs to the outermost scope on the way, and end all of them', async () => {
    const app = new App()
    const inner = enterTo(app.scope, perHandler.kind, { request: 1 })
    assert.equal(inner.input('request'), 1)
    assert.deepEqual(inner.parent?.inputs, { request: 1 })
    assert.equal(inner.inputs, undefined)
    await endWithin({ outer: app.scope, inner, ending: { ok: true }, limit: undefined })
    assert.deepEqual(
      [inner.state, inner.parent?.state, app.scope.state],
      ['closed', 'closed', 'open'],
    )
    assert.deepEqual(app.scope.children, [])
  })

  it('keep the list of open scopes straight, whichever ends first', async () => {
    const app = new App()
    for (const order of [
      [0, 1, 2],
      [2, 1, 0],
      [1, 0, 2],
      [1, 2, 0],
      [0, 2, 1],
    ]) {
      const children = [0, 1, 2].map(() => app.scope.enter(requestKind))
      const open = new Set(children)
      for (const index of order) {
        await children[index]!.end({ ok: true })
        open.delete(children[index]!)
        assert.deepEqual(new Set(app.scope.children), open)
      }
    }
  })

  it('R14 refuse what comes after the end', async () => {
    const app = new App()
    const own = perRequest(() => 1)
    const scope = app.scope.enter(requestKind)
    const plan = app.graph.plan({ own })
    await scope.end({ ok: true })
    await app.scope.end({ ok: true })
    const wrong = [() => scope.open(plan), () => scope.enter(perHandler.kind)]
    for (const work of [...wrong, () => app.scope.enter(requestKind)]) {
      assert.equal((await stewardErrorOf(work)).code, 'ERR_SCOPE_CLOSED')
    }
  })

  it('end() gives nothing when everything was synchronous, and one promise when not', async () => {
    const app = new App()
    const sync = perRequest(function* () {
      yield 1
    })
    const scope = app.scope.enter(requestKind)
    assert.equal(scope.open(app.graph.plan({ sync })), undefined)
    assert.equal(scope.end({ ok: true }), undefined)
    assert.equal(scope.end({ ok: true }), undefined)
    const asynchronous = perRequest(async function* () {
      yield 1
    })
    const other = app.scope.enter(requestKind)
    await other.open(app.graph.plan({ asynchronous }))
    const ending = other.end({ ok: true })
    assert.ok(ending instanceof Promise)
    assert.equal(other.end({ ok: false }), ending)
    await ending
  })
})

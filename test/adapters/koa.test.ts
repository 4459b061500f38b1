import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import Router from '@koa/router'
import Koa from 'koa'
import { ctx as context, inject } from '../../src/adapters/koa.ts'
import { request as requestInfo } from '../../src/service/request.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { serve } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { addClientTests } from '../helpers/client-suite.ts'
import { listening, watchedHandler } from '../helpers/door.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { koaDoor, koaMiddlewareDoor, quiet } from '../helpers/koa-door.ts'
import { addBuiltinTests, addEveryRequestTests } from '../helpers/request-suite.ts'
import { quietly } from '../helpers/services.ts'
import { addStopTests } from '../helpers/stop-suite.ts'
import { addStreamTests } from '../helpers/stream-suite.ts'
import { isOurs, overHttp } from '../helpers/way.ts'
import { addWritingTests } from '../helpers/writing-suite.ts'

for (const door of [koaDoor, koaMiddlewareDoor]) {
  addScopeTests(overHttp(door))
  addBuiltinTests(overHttp(door))
  addEveryRequestTests(overHttp(door))
  addClientTests(door)
  addWritingTests(door)
  addStopTests(door)
  addStreamTests(door)
}

describe('steward/koa', () => {
  it('R11 throws a failing commit to the middlewares around, without the answer', async () => {
    const failing = perHandler(async function* () {
      yield 'transaction'
      throw new Error('the commit failed')
    })
    const seen: string[] = []
    const app = new Koa()
    app.use(async (ctx, next) => {
      await next().catch((error: Error) => seen.push(`${error.message}, ${ctx.status}`))
    })
    app.use(
      inject({ failing }, (ctx) => {
        ctx.status = 201
        ctx.body = { created: true }
      }),
    )
    await using asking = await listening(app)
    const { status, body } = await asking.ask('POST /')
    assert.deepEqual(seen, ['the commit failed, 500'])
    assert.deepEqual([status, body], [500, 'Internal Server Error'])
  })

  it('R11 holds what a handler writes by itself', async () => {
    const { resource: tx, endings } = watchedHandler()
    const app = quiet()
    app.use(
      inject({ tx }, (ctx) => {
        ctx.respond = false
        if (ctx.path === '/stream') ctx.res.write('piece')
        ctx.res.writeHead(201).end('written')
      }),
    )
    await using asking = await listening(app)
    const { status, body } = await asking.ask('GET /')
    assert.deepEqual([status, body, endings.length], [201, 'written', 1])
    assert.equal((await asking.ask('GET /stream')).status, 500)
    assert.ok(isOurs('ERR_HANDLER_STREAMS', /"tx"/)(endings[1]!.error))
  })

  it('R12 shares the scopes between a middleware and the handler', async () => {
    const { resource: tx, opened, endings } = watchedHandler()
    const deps = inject({ tx })
    const app = quiet().use(deps)
    app.use(
      inject({ tx }, (ctx, { tx }) => {
        ctx.body = `${tx === deps.of(ctx).tx}`
      }),
    )
    await using asking = await listening(app)
    assert.equal((await asking.ask('GET /')).body, 'true')
    assert.deepEqual([opened.count, endings.length], [1, 1])
  })

  it('gives `ctx`, and the path parameters of its router', async () => {
    const stamp = perRequest({ ctx: context, request: requestInfo }, ({ ctx, request }) =>
      ctx.set('x-stamp', request.params['id']!),
    )
    const router = new Router()
    router.get(
      '/:id',
      inject({ stamp }, (ctx) => {
        ctx.body = 'fine'
      }),
    )
    await using asking = await listening(quiet().use(router.routes()))
    assert.equal((await asking.ask('GET /42')).headers['x-stamp'], '42')
  })

  it('L1 opens what routes and routers inject, before it listens', async () => {
    const opened: string[] = []
    const [one, two] = ['one', 'two'].map((name) => perApp(() => void opened.push(name)))
    const inner = new Router().get('/x', inject({ one: one! }))
    const router = new Router().use('/inner', inner.routes())
    await using _asking = await listening(
      quiet()
        .use(inject({ two: two! }))
        .use(router.routes()),
    )
    assert.deepEqual(opened.toSorted(), ['one', 'two'])
  })

  it('L9 starts again, with fresh resources', async () => {
    let made = 0
    const pool = perApp(() => ++made)
    const app = quiet().use(
      inject({ pool }, (ctx, { pool }) => {
        ctx.body = `${pool}`
      }),
    )
    for (const expected of ['1', '2']) {
      await using running = await serve(service({ app }), quietly)
      const answer = await fetch(running.url, { headers: { connection: 'close' } })
      assert.equal(await answer.text(), expected)
    }
  })

  it('refuses what is no handler, and says when it is in an app of another framework', async () => {
    assert.throws(() => inject({}, 'x' as never), isOurs('ERR_BAD_OPTION', /"x"/))
    const handle = inject({}, () => {})
    await assert.rejects(
      async () => await handle({ raw: {} } as never, async () => {}),
      isOurs('ERR_BAD_OPTION', /this inject\(\) is for Koa/),
    )
  })
})

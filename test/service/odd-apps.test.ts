import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import Router from '@koa/router'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { inject as injectHono } from '../../src/adapters/hono.ts'
import { inject as injectNode } from '../../src/adapters/node.ts'
import {
  fake, isStewardError, open, perApp, perHandler, perRequest, serve, service, start, type Context, type NodeListener,
  type ServedApp, type ServiceEvent,
} from '../../src/index.ts' // oxfmt-ignore
import { expresses } from '../helpers/express-door.ts'
import { Gate } from '../helpers/gate.ts'
import { nestApp } from '../helpers/nest-door.ts'
import { quietly } from '../helpers/services.ts'
import { within } from '../helpers/within.ts'

interface Answered {
  readonly status: number
  readonly reason: string
  readonly body: string
  readonly failures: unknown[]
}

/** Asks an app once, and tells what it answered and what was told of it. */
async function ask(app: ServedApp): Promise<Answered> {
  const failures: unknown[] = []
  const on = (event: ServiceEvent): void => {
    if (event.type === 'request.failed') failures.push(event.error)
  }
  await using running = await serve(service({ app }), { ...quietly, on })
  const response = await within(
    5_000,
    fetch(running.url, { headers: { connection: 'close' } }),
    'the answer',
  )
  return {
    status: response.status,
    reason: response.statusText,
    body: await response.text(),
    failures,
  }
}

const odd = (app: unknown): ServedApp => app as ServedApp

/** What is no app, though it comes from a framework, and what to do about it. */
const NO_APPS: Record<string, [make: () => unknown, says: RegExp]> = {
  'a router of Koa': [() => new Router(), /it is a router, give an app that uses it$/],
  'an app in an object': [() => ({ app: express() }), /there is an app in it, export that alone/],
  'a Nest context': [
    () => ({ enableShutdownHooks() {}, close() {}, get() {} }),
    /a NestJS app that answers no HTTP requests, open it by a resource/,
  ],
}
for (const [name, make] of Object.entries(expresses)) {
  NO_APPS[`a router of ${name}`] = [make.Router, /it is a router, give an app that uses it$/]
}

describe('what comes from a framework and is no app', () => {
  for (const [name, [make, says]] of Object.entries(NO_APPS)) {
    it(`X1 is refused, and says what to give: ${name}`, () => {
      const given = odd(make())
      assert.throws(() => service({ app: given }), { code: 'ERR_APP_NOT_USABLE', message: says })
    })
  }
})

describe('a listener', () => {
  it('X2 is answered for with a 500 of its own reason when its status message cannot be sent', async () => {
    const app: NodeListener = (_request, response) => {
      response.statusMessage = 'no such order:\n  42'
      response.end('x')
    }
    const { status, reason, failures } = await ask(app)
    assert.deepEqual([status, reason, failures.length], [500, 'Internal Server Error', 1])
  })

  for (const [what, given] of [
    ['an app', () => new Hono()],
    ['a promise of an app', async () => new Hono()],
    ['an app of Express', () => express()],
    ['a promise of one of Fastify', async () => Fastify()],
    ['an app of Koa', () => new Koa()],
    ['a promise of one of Nest', () => nestApp('Express', [])],
    ['a Response', async () => new Response('x')],
  ] as const) {
    it(`X1 that gives ${what} in the place of answering is told what to export`, async () => {
      const { status, failures } = await ask(odd(given))
      assert.equal(status, 500)
      assert.match(String(failures[0]), /Cannot answer: the listener gave .*: export default/)
    })
  }
})

describe('a fetch app', () => {
  for (const [what, given] of [
    ['a string', 'x'],
    ['an object that only looks like a Response', { status: 200 }],
  ] as const) {
    it(`X2 that gives ${what} is a 500 that shows nothing of the inside`, async () => {
      const { status, body, failures } = await ask(odd({ fetch: async () => given }))
      assert.deepEqual([status, body], [500, 'Internal Server Error'])
      assert.match(String(failures[0]), /Cannot answer: the app's fetch gave/)
    })
  }

  it('X2 whose error fails to answer for itself is a 500, and told', async () => {
    const error = {
      getResponse() {
        throw new Error('no answer')
      },
    }
    const fetch = async (): Promise<Response> => {
      throw error
    }
    const { status, failures } = await ask({ fetch })
    assert.equal(status, 500)
    assert.deepEqual(failures, [error])
  })

  it('S3 whose answer is cancelled while it waits has not failed', async () => {
    const failures: ServiceEvent[] = []
    const chunk = new Gate()
    const body = (): ReadableStream =>
      new ReadableStream({
        async pull(controller) {
          await chunk.opened
          controller.close()
        },
      })
    await using running = await start(service({ app: { fetch: () => new Response(body()) } }), {
      on: (event) => void (event.type === 'request.failed' && failures.push(event)),
    })
    const response = await running.fetch('/')
    await response.body!.cancel()
    chunk.open()
    await running.stop()
    assert.deepEqual(failures, [])
  })
})

describe('the event stream', () => {
  it('P3 removes a listener whose promise rejects, and tells it once', async () => {
    const told: ServiceEvent[] = []
    const app = { fetch: () => new Response('x') }
    const on = (async () => {
      throw new Error('listener')
    }) as () => void
    const running = await start(service({ app }), { on })
    running.events.on((event) => void told.push(event))
    await running.stop()
    assert.ok(told.filter(({ type }) => type === 'error').length <= 1)
    assert.equal(running.state, 'closed')
  })
})

describe('a handler scope in steward/node', () => {
  const tx = perHandler(function* () {
    yield 'tx'
  })

  it('R11 does not wait for a handler that waits for its own answer', async () => {
    const app = injectNode({ tx }, async (_request, response) => {
      await new Promise<void>((resolve) => response.end('held', resolve))
    })
    assert.equal((await ask(app)).body, 'held')
  })

  it('R11 is not committed when its answer cannot be sent', async () => {
    const endings: unknown[] = []
    const watched = perHandler(function* () {
      endings.push(yield 'tx')
    })
    const app = injectNode({ watched }, (_request, response) => response.end(42 as never))
    assert.equal((await ask(app)).status, 500)
    assert.equal((endings[0] as { ok: boolean }).ok, false)
  })
})

describe('app.request() with running.env', () => {
  it('R12 opens what every request wants, as over a connection', async () => {
    let opened = 0
    const guard = perRequest(() => ++opened)
    const greeting = perApp(() => 'hello')
    const app = new Hono().get('/', injectHono({ greeting }), (c) => c.text(c.var.greeting))
    await using running = await start(service({ app, everyRequest: { guard } }))
    assert.equal(await (await app.request('/', {}, running.env)).text(), 'hello')
    assert.equal(opened, 1)
  })
})

describe('messages', () => {
  it('R7 says once what our own error about an opening says', async () => {
    const db = perApp(function* (): Generator<number> {})
    await assert.rejects(open({ db }), (error: Error) => {
      assert.equal(error.message.match(/Cannot open "db"/g)?.length, 1)
      return true
    })
  })

  it('R13 refuses two overrides of one resource in words', async () => {
    const a = perApp(() => 1, { name: 'a' })
    await assert.rejects(open({ a }, { with: [fake(a, 2), fake(a, 3)] }), {
      message: /Cannot replace "a" twice/,
    })
  })

  it('R7 refuses a late use of what is open by what its opener gave', async () => {
    let context: Context | undefined
    const five = perApp(async (given) => {
      context = given
      return 5
    })
    await using app = await open({ five })
    assert.throws(
      () => context!.use(3),
      (error) => isStewardError(error, 'ERR_USE_TWICE'),
    )
    assert.equal(app.values.five, 5)
  })
})

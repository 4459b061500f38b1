import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { inject as injectHono } from '../../src/adapters/hono.ts'
import { inject as injectNode } from '../../src/adapters/node.ts'
import { serve, service, type ServedApp } from '../../src/index.ts'
import { watchedHandler } from '../helpers/door.ts'
import { Gate } from '../helpers/gate.ts'
import { quietly } from '../helpers/services.ts'
import { within } from '../helpers/within.ts'

type Watched = ReturnType<typeof watchedHandler>['resource']

const doors: Record<string, (tx: Watched, gate: Gate) => ServedApp> = {
  'steward/hono': (tx, gate) =>
    new Hono().post('/orders', injectHono({ tx }), async (c) => {
      await gate.opened
      return c.text('ordered', 201)
    }),
  'steward/node': (tx, gate) =>
    injectNode({ tx }, async (_request, response) => {
      await gate.opened
      response.writeHead(201).end('ordered')
    }),
}

describe('a request that was answered in its handler’s place', () => {
  for (const [door, appWith] of Object.entries(doors)) {
    it(`R11 H10 is not committed through ${door}: its client was told 503, and will ask again`, async () => {
      const { resource: tx, endings, opened } = watchedHandler()
      const gate = new Gate()
      const running = await serve(
        service({ app: appWith(tx, gate), gracefulTimeout: '1s' }),
        quietly,
      )
      const asked = fetch(`${running.url}/orders`, { method: 'POST' })
      await within(5_000, opened.reached(1), 'the handler')
      const stopped = running.stop()
      const response = await within(5_000, asked, 'the 503')
      gate.open()
      const { clean, served } = await stopped
      assert.equal(response.status, 503)
      assert.equal(response.headers.get('retry-after'), '1')
      assert.equal(endings.length, 1)
      assert.equal(endings[0]!.ok, false)
      assert.equal(endings[0]!.status, 503)
      assert.deepEqual([clean, served.cut], [false, 1])
    })
  }
})

describe('a commit that is under way when the grace is spent', () => {
  for (const [door, appWith] of Object.entries(doors)) {
    it(`R11 H10 keeps its answer through ${door}: a client that was told 503 would ask again`, async () => {
      const [gate, commit] = [new Gate(), new Gate()]
      const { resource: tx, endings, closed } = watchedHandler(() => commit.opened)
      gate.open()
      const refusing = new Gate()
      const running = await serve(service({ app: appWith(tx, gate), gracefulTimeout: '2s' }), {
        ...quietly,
        // Emitted once the accept queue is empty, after those who have no answer were refused
        on: ({ type }) => type === 'listener.closed' && refusing.open(),
      })
      const asked = fetch(`${running.url}/orders`, { method: 'POST' })
      await within(5_000, closed.reached(1), 'the commit')
      const forced = running.force()
      await within(5_000, refusing.opened, 'the refusals')
      commit.open()
      const response = await within(5_000, asked, 'the answer')
      const { clean, served } = await forced
      assert.equal(response.status, 201)
      assert.deepEqual(endings, [{ ok: true, status: 201 }])
      assert.deepEqual([clean, served.cut], [true, 0])
    })
  }
})

describe('a commit that has ended when the grace is spent', () => {
  it('R11 H10 keeps its answer while an outer middleware of Hono still works on it', async () => {
    const { resource: tx, endings } = watchedHandler()
    const [committed, refusing, outer] = [new Gate(), new Gate(), new Gate()]
    const app = new Hono()
      .use(async (_c, next) => {
        await next()
        committed.open()
        await outer.opened
      })
      .post('/orders', injectHono({ tx }), (c) => c.text('ordered', 201))
    const running = await serve(service({ app, gracefulTimeout: '2s' }), {
      ...quietly,
      on: ({ type }) => type === 'listener.closed' && refusing.open(),
    })
    const asked = fetch(`${running.url}/orders`, { method: 'POST' })
    await within(5_000, committed.opened, 'the commit')
    const forced = running.force()
    await within(5_000, refusing.opened, 'the refusals')
    outer.open()
    assert.equal((await within(5_000, asked, 'the answer')).status, 201)
    assert.deepEqual(endings, [{ ok: true, status: 201 }])
    assert.equal((await forced).clean, true)
  })
})

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

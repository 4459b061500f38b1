import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { inject } from '../../src/adapters/hono.ts'
import { inject as injectNode } from '../../src/adapters/node.ts'
import {
  param, perHandler, request, serve, service, type ServedApp, type ServeOptions,
} from '../../src/index.ts' // oxfmt-ignore
import { Http2Client } from '../helpers/http2-client.ts'
import { portOf, quietly } from '../helpers/services.ts'

const served: ServeOptions = { ...quietly, http2: true, on: () => {} }

const tx = perHandler({ request }, async function* ({ request }) {
  yield 'open'
  if (request.url.pathname.endsWith('/fails')) throw new Error('the commit failed')
})

const apps: Record<string, () => ServedApp> = {
  'steward/hono': () => {
    const app = new Hono()
    app.get('/items/:id', inject({ request, tx }), (c) => {
      const { url, headers, ip, params, method } = c.var.request
      const said = { url: url.href, host: headers.get('host'), ip, params, method, tx: c.var.tx }
      return c.json(said)
    })
    return app
  },
  'steward/node': () =>
    injectNode({ request, tx }, (_, response, { request, tx }) => {
      const { url, headers, ip, method } = request
      const params = { id: url.pathname.split('/').at(-1) }
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(
        JSON.stringify({ url: url.href, host: headers.get('host'), ip, params, method, tx }),
      )
    }),
}

describe('HTTP/2 through the whole', () => {
  for (const [name, app] of Object.entries(apps)) {
    it(`serves ${name}: request, host, parameters, held responses, no warnings`, async () => {
      const warnings: Error[] = []
      const warned = (warning: Error): unknown => warnings.push(warning)
      process.on('warning', warned)
      await using running = await serve(service({ app: app() }), served)
      using client = await Http2Client.connect(portOf(running))
      const host = `localhost:${portOf(running)}`
      const { status, body } = await client.request('GET /items/7?a=b')
      assert.equal(status, 200)
      assert.deepEqual(JSON.parse(body), {
        url: `http://${host}/items/7?a=b`,
        host,
        ip: '127.0.0.1',
        params: { id: '7' },
        method: 'GET',
        tx: 'open',
      })
      const failed = await client.request('GET /items/fails')
      assert.equal(failed.status, 500, 'a failing commit is the 500 of the client')
      await new Promise((resolve) => setImmediate(resolve))
      process.off('warning', warned)
      assert.deepEqual(warnings, [])
    })
  }

  it('answers the probes over both protocols on the same port', async () => {
    await using running = await serve({ fetch: () => new Response('hello') }, served)
    using client = await Http2Client.connect(portOf(running))
    for (const path of ['/readyz', '/livez']) {
      assert.equal((await client.request(`GET ${path}`)).status, 200)
      assert.equal((await fetch(running.url + path)).status, 200)
    }
    assert.equal((await client.request('GET /')).body, 'hello')
    assert.equal(await (await fetch(running.url)).text(), 'hello')
  })

  it('opens nothing for a request that does not fit', async () => {
    const id = param({
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: () => ({ issues: [{ message: 'no' }] }),
      },
    })
    const app = new Hono().get('/items/:id', inject({ id }), (c) => c.text('never'))
    await using running = await serve(service({ app }), served)
    using client = await Http2Client.connect(portOf(running))
    assert.equal((await client.request('GET /items/7')).status, 400)
  })
})

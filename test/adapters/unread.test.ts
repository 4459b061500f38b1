import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { serve, service, type FetchApp } from '../../src/index.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { portOf, quietly } from '../helpers/services.ts'

const SIZE = 200_000

/** What fetch apps do with a body that they do not want. */
const LEAVING: Record<string, (request: Request) => unknown> = {
  'never asked for': () => {},
  'asked for, and not read': (request) => request.body,
  'read in part': (request) => request.body?.getReader().read(),
  cancelled: (request) => request.body?.cancel(),
}

async function answer(request: Request): Promise<Response> {
  const how = new URL(request.url).searchParams.get('how')
  if (how !== null) await LEAVING[how]!(request)
  return new Response(request.method)
}

const APPS: Record<string, FetchApp> = {
  'a fetch app': { fetch: answer },
  Hono: new Hono().all('/', (c) => answer(c.req.raw)),
}

for (const [name, app] of Object.entries(APPS)) {
  describe(`a body that ${name} leaves`, () => {
    for (const how of Object.keys(LEAVING)) {
      it(`H11 is read and dropped: ${how}, and the request behind it is answered`, async () => {
        await using running = await serve(service({ app }), quietly)
        using client = await RawClient.connect(portOf(running))
        const target = `/?how=${encodeURIComponent(how)}`
        client.send(`POST ${target} HTTP/1.1\r\nHost: test\r\nContent-Length: ${SIZE}\r\n\r\n`)
        client.send('x'.repeat(SIZE / 2))
        const first = await client.response()
        assert.deepEqual([first.body, first.headers.connection], ['POST', 'keep-alive'])
        client.send('x'.repeat(SIZE / 2)).request('GET /')
        assert.equal((await client.response()).body, 'GET')
      })
    }
  })
}

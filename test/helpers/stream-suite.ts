import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { stopping } from '../../src/scope/builtin.ts'
import { perApp } from '../../src/scope/resource.ts'
import { serve } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { listening, route, watchedHandler, watchedRequest, type Answer, type Door } from './door.ts'
import { fastWorld } from './fast-world.ts'
import { settled } from './fake-world.ts'
import { RawClient } from './raw-client.ts'
import { portOf, quietly } from './services.ts'
import { turns, within } from './within.ts'

const LAST_CHUNK = '\r\n0\r\n\r\n'

/** Bodies that come piece by piece, and answers without one, whatever the framework. What is not piped is not seen to clean up. */
export function addStreamTests(door: Door, body: 'piped' | 'a web stream' = 'piped'): void {
  describe(`${door.name}, bodies`, () => {
    it('S1 leaves a stream that hears of the stop its last words', async () => {
      const told: string[] = []
      const { resource: unit } = watchedRequest(() => told.push('request closed'))
      const app = door.app({
        '/': route({ unit, stopping }, ({ stopping }) => events(untilStopping(stopping))),
      })
      const running = await serve(service({ app }), quietly)
      using client = await RawClient.connect(portOf(running))
      await client.request('GET /').sees('data: hello')
      const { clean, served } = await within(5_000, running.stop(), 'the stop')
      await client.fin()
      assert.match(client.received, /data: bye/)
      assert.ok(client.received.endsWith(LAST_CHUNK))
      assert.deepEqual([clean, served.cut, told], [true, 0, ['request closed']])
    })

    it('S2 ends an event stream that never ends by itself with its last chunk, its cleanup awaited', async () => {
      const told: string[] = []
      const pool = perApp(async function* () {
        yield 'pool'
        told.push('pool closed')
      })
      const { resource: unit } = watchedRequest(() => told.push('request closed'))
      const app = door.app({
        '/': route({ pool, unit }, () => events(forever(told, body === 'piped' ? 10 : 0))),
      })
      // From T1, where it is ended, to T2, where it would be cut, a busy machine has 200 ms
      const definition = service({ app, gracefulTimeout: '4s' })
      const running = await serve(definition, { ...quietly, world: fastWorld(2) })
      using client = await RawClient.connect(portOf(running))
      await client.request('GET /').sees('data: tick')
      const { clean, served } = await within(5_000, running.stop(), 'the stop')
      await client.fin()
      assert.ok(client.received.endsWith(LAST_CHUNK))
      assert.deepEqual([clean, served.cut], [true, 0])
      // Of a web stream nobody hears that it has cleaned up
      if (body === 'piped') assert.equal(told[0], 'cleaned up')
      assert.ok(told.indexOf('request closed') < told.indexOf('pool closed'))
      assert.equal(told.length, 3)
    })

    it('R10 closes the scope of a stream that breaks, and leaves it looking broken', async () => {
      const { resource: unit, closed } = watchedRequest()
      const app = door.app({ '/': route({ unit }, () => events(breaking())) })
      await using asking = await listening(app)
      using client = await RawClient.connect(asking.port)
      await client.request('GET /').sees('data: hello')
      await client.closed
      await within(2_000, closed.reached(1), 'the close')
      assert.ok(!client.received.endsWith(LAST_CHUNK))
    })

    it('R10 R11 answers HEAD with a head, closes its scopes, and keeps the connection', async () => {
      const { resource: unit, closed, endings } = watchedRequest()
      const { resource: tx, endings: handlers } = watchedHandler(settled)
      const app = door.app({ '/': route({ unit, tx }, () => ({ status: 202, body: 'hello' })) })
      await using asking = await listening(app)
      using client = await RawClient.connect(asking.port)
      await client.request('HEAD /').sees('\r\n\r\n')
      assert.match(client.received, /^HTTP\/1\.1 202 [\s\S]*\r\n\r\n$/)
      client.received = ''
      const { status, body } = await client.request('GET /').response()
      assert.deepEqual([status, body], [202, 'hello'])
      await within(2_000, closed.reached(2), 'the closes')
      assert.deepEqual(endings.concat(handlers), Array(4).fill({ ok: true, status: 202 }))
    })
  })
}

function events(body: AsyncIterable<string>): Answer {
  return { headers: { 'content-type': 'text/event-stream' }, body }
}

async function* untilStopping(stopping: AbortSignal): AsyncGenerator<string> {
  yield 'data: hello\n\n'
  await new Promise((resolve) => stopping.addEventListener('abort', resolve))
  await turns(3)
  yield 'data: bye\n\n'
}

async function* forever(told: string[], cleanup: number): AsyncGenerator<string> {
  try {
    for (;;) {
      yield 'data: tick\n\n'
      await turns(1)
    }
  } finally {
    await turns(cleanup)
    told.push('cleaned up')
  }
}

async function* breaking(): AsyncGenerator<string> {
  yield 'data: hello\n\n'
  await turns(3)
  throw new Error('broken')
}

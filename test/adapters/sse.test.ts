import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { inject, sse, type SseEvent } from '../../src/adapters/hono.ts'
import { stopping } from '../../src/index.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { Gate } from '../helpers/gate.ts'
import { quiet } from '../helpers/hono-door.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { served } from '../helpers/sockets.ts'
import { turns, within } from '../helpers/within.ts'

const LAST_CHUNK = '0\r\n\r\n'
const SHUTDOWN = /event: shutdown\nretry: [1-4]\d{3}\ndata: the service is stopping\n\n/

/** Waits for what never comes, until it is told that it is over. */
async function heard(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve))
}

async function listening(port: number, path = '/', head = ''): Promise<RawClient> {
  const client = await RawClient.connect(port)
  return client.send(`GET ${path} HTTP/1.1\r\nHost: test\r\n${head}\r\n`)
}

describe('sse()', () => {
  it('sends events with their name, id and retry, text of several lines, and anything as JSON', async () => {
    const events: (SseEvent | string)[] = [
      'plain',
      { event: 'price', data: { of: 'tea' }, id: '7', retry: '3s' },
      { data: 'two\r\nlines' },
      { data: 0 },
    ]
    const app = new Hono().get('/', sse({}, async function* () {
      yield* events
    })) // oxfmt-ignore
    await using at = await served(app)
    const answer = await fetch(at.running.url)
    assert.equal(answer.headers.get('content-type'), 'text/event-stream; charset=utf-8')
    assert.equal(answer.headers.get('cache-control'), 'no-cache')
    const text = await answer.text()
    assert.equal(
      text,
      'data: plain\n\nevent: price\nid: 7\nretry: 3000\ndata: {"of":"tea"}\n\ndata: two\ndata: lines\n\ndata: 0\n\n',
    )
    assert.equal(await (await at.running.fetch('/')).text(), text)
  })

  it('gives the id that the client has seen last, and what was injected', async () => {
    const pool = perApp(() => 'pool')
    const app = new Hono().get('/:topic', sse({ pool }, async function* ({ pool }, c, { lastEventId }) {
      yield `${pool} ${c.req.param('topic')} ${lastEventId}`
    })) // oxfmt-ignore
    await using at = await served(app)
    const answer = await fetch(`${at.running.url}/tea`, { headers: { 'last-event-id': '41' } })
    assert.equal(await answer.text(), 'data: pool tea 41\n\n')
  })

  it('sends a comment now and then when nothing else is sent', async () => {
    const app = new Hono().get('/', sse({}, async function* (_deps, _c, { signal }) {
      yield 'first'
      await heard(signal)
    })) // oxfmt-ignore
    await using at = await served(app, {}, { world: fastWorld(500) })
    using client = await listening(at.port)
    await client.until(() => client.received.split(':\n\n').length > 3)
    assert.match(client.received, /data: first\n\n/)
  })

  it('S3 R10 ends when its client leaves: signal, cleanup, scope, once each and in that order', async () => {
    const lines: string[] = []
    const closed = new Gate()
    const unit = perRequest(function* () {
      yield 'unit'
      lines.push('scope closed')
      closed.open()
    })
    const app = new Hono().get('/', sse({ unit }, async function* (_deps, _c, { signal }) {
      signal.addEventListener('abort', () => lines.push((signal.reason as { code: string }).code))
      try {
        yield 'hello'
        await heard(signal)
      } finally {
        await turns(5)
        lines.push('cleaned up')
      }
    })) // oxfmt-ignore
    await using at = await served(app)
    const client = await listening(at.port)
    await client.sees('hello')
    client.destroy()
    await closed.opened
    assert.deepEqual(lines, ['ERR_CLIENT_GONE', 'cleaned up', 'scope closed'])
  })

  it('S3 ends when its client sends no more, though it might still read', async () => {
    const reason = Promise.withResolvers<{ code: string }>()
    const app = new Hono().get('/', sse({}, async function* (_deps, _c, { signal }) {
      yield 'hello'
      await heard(signal)
      reason.resolve(signal.reason)
    })) // oxfmt-ignore
    await using at = await served(app)
    using client = await listening(at.port)
    await client.sees('hello')
    client.socket.end()
    assert.equal((await within(4_000, reason.promise, 'the signal')).code, 'ERR_CLIENT_GONE')
  })

  it('P1 S2 ends a stream at once when the stop is forced, whatever time of its own it has', async () => {
    const app = new Hono().get('/', sse({ stopping }, async function* (_deps, _c, { signal }) {
      yield 'hello'
      await heard(signal)
    })) // oxfmt-ignore
    const at = await served(app)
    using client = await listening(at.port)
    await client.sees('hello')
    const { clean, took } = await at.running.force()
    assert.equal(clean, true)
    assert.ok(took.draining < 1_500, `drained in ${took.draining} ms`)
    assert.match(client.received, SHUTDOWN)
    assert.ok(client.received.endsWith(LAST_CHUNK))
  })

  it('S1 has its clients come back at different times', async () => {
    const app = new Hono().get('/', sse({}, async function* (_deps, _c, { signal }) {
      yield 'hello'
      await heard(signal)
    })) // oxfmt-ignore
    const at = await served(app)
    const clients = await Promise.all(Array.from({ length: 5 }, () => listening(at.port)))
    for (const client of clients) await client.sees('hello')
    assert.equal((await at.running.stop()).clean, true)
    const retries = clients.map(({ received }) => /retry: (\d+)/.exec(received)?.[1])
    for (const client of clients) client.destroy()
    assert.ok(new Set(retries).size > 1, retries.join())
  })

  it('S1 S2 sends a last event and the last chunk at the stop, and closes the app after its cleanup', async () => {
    const lines: string[] = []
    const db = perApp(function* () {
      yield { write: (line: string) => lines.push(line) }
      lines.push('db closed')
    })
    const app = new Hono().get('/', sse({ db }, async function* ({ db }, _c, { signal }) {
      try {
        yield 'hello'
        await heard(signal)
      } finally {
        await turns(5)
        db.write('cleaned up')
      }
    })) // oxfmt-ignore
    const at = await served(app)
    using client = await listening(at.port)
    await client.sees('hello')
    const { clean, took } = await at.running.stop()
    assert.equal(clean, true)
    assert.ok(took.draining < 3_000, `drained in ${took.draining} ms`)
    assert.match(client.received, SHUTDOWN)
    assert.ok(client.received.endsWith(LAST_CHUNK))
    assert.deepEqual(lines, ['cleaned up', 'db closed'])
  })

  it('S1 leaves a stream that has asked for `stopping` time for its own last words', async () => {
    const app = new Hono()
      .get('/own', sse({}, async function* (_deps, _c, stream) {
        yield 'hello'
        await heard(stream.stopping)
        await turns(20)
        yield { event: 'bye', data: 'come back' }
      }))
      .get('/injected', sse({ stopping }, async function* ({ stopping }) {
        yield 'hello'
        await heard(stopping)
        await turns(20)
        yield { event: 'bye', data: 'come back' }
      })) // oxfmt-ignore
    const at = await served(app)
    using one = await listening(at.port, '/own')
    using other = await listening(at.port, '/injected')
    await one.sees('hello')
    await other.sees('hello')
    assert.equal((await at.running.stop()).clean, true)
    for (const { received } of [one, other]) {
      assert.match(received, /event: bye\ndata: come back\n\n/)
      assert.match(received, SHUTDOWN)
      assert.ok(received.endsWith(LAST_CHUNK))
    }
  })

  it('S1 ends well a stream that gives up what it waits for with the reason of the stop', async () => {
    const app = new Hono().get('/', sse({ stopping }, async function* ({ stopping }) {
      yield 'hello'
      await heard(stopping)
      throw stopping.reason
    })) // oxfmt-ignore
    const at = await served(app)
    using client = await listening(at.port)
    await client.sees('hello')
    assert.equal((await at.running.stop()).clean, true)
    assert.match(client.received, SHUTDOWN)
    assert.ok(client.received.endsWith(LAST_CHUNK))
    assert.deepEqual(at.told.all('request.failed'), [])
  })

  it('S2 ends a stream whose handler does not hear, and names the handler', async () => {
    const app = new Hono().get('/', sse({}, async function* () {
      yield 'hello'
      await new Promise<never>(() => {})
    })) // oxfmt-ignore
    const at = await served(app, { gracefulTimeout: '2s' }, { world: fastWorld(4) })
    using client = await listening(at.port)
    await client.sees('hello')
    const { clean, served: counted } = await at.running.stop()
    assert.deepEqual([clean, counted.cut], [false, 1])
    assert.match(client.received, SHUTDOWN)
    assert.ok(client.received.endsWith(LAST_CHUNK))
    assert.equal((await at.told.event('handler.abandoned')).url, '/')
  })

  it('breaks the connection, and tells, when its generator throws', async () => {
    const app = new Hono()
      .get('/', sse({}, async function* () {
        yield 'hello'
        await turns(3)
        throw new Error('broken')
      }))
      .get('/bad', sse({}, async function* () {
        yield 'hello'
        await turns(3)
        yield { id: 'two\nlines' }
      })) // oxfmt-ignore
    const at = await served(app)
    for (const path of ['/', '/bad']) {
      using client = await listening(at.port, path)
      await client.closed
      assert.ok(!client.received.endsWith(LAST_CHUNK), 'it must not look complete')
      const { error } = await at.told.event('request.failed', ({ url }) => url === path)
      assert.match(
        (error as Error).message,
        path === '/' ? /^broken$/ : /^Cannot send an event: its id/,
      )
    }
    assert.equal((await at.running.stop()).clean, true)
  })

  it('R10 S2 tells what a cleanup throws, wherever the generator was, and its scope has not ended well', async () => {
    const endings: string[] = []
    const unit = perRequest(function* () {
      const end = yield 'unit'
      endings.push(end.ok ? 'ok' : String(end.error))
    })
    const app = new Hono()
      .get('/waiting', sse({ unit }, async function* (_deps, _c, { signal }) {
        try {
          yield 'hello'
          await heard(signal)
        } finally {
          await Promise.reject(new Error('not written'))
        }
      }))
      .get('/told', sse({ unit }, async function* (_deps, _c, { signal }) {
        yield 'hello'
        await heard(signal)
        throw signal.reason
      })) // oxfmt-ignore
    const at = await served(app)
    using left = await listening(at.port, '/waiting')
    await left.sees('hello')
    left.destroy()
    await at.told.event('request.failed')
    using client = await listening(at.port, '/waiting')
    using told = await listening(at.port, '/told')
    await client.sees('hello')
    await told.sees('hello')
    assert.equal((await at.running.stop()).clean, true)
    assert.ok(client.received.endsWith(LAST_CHUNK), 'its client has all of it')
    const failed = at.told.all('request.failed').map(({ url, error }) => `${url} ${String(error)}`)
    assert.deepEqual(failed, Array(2).fill('/waiting Error: not written'))
    assert.deepEqual(endings.toSorted(), [...Array(2).fill('Error: not written'), 'ok'])
  })

  it('refuses what lives as long as a handler, and what is no generator', async () => {
    const tx = perHandler(() => 'tx')
    assert.throws(() => sse({ tx } as {}, async function* () {}), { code: 'ERR_CAPTIVE' })
    assert.throws(() => sse({}, {} as never), { code: 'ERR_BAD_OPTION' })
    assert.throws(() => sse({}, async function* () {}, { keepAlive: 5 as never }), { code: 'ERR_BAD_OPTION' }) // oxfmt-ignore
    const app = quiet().get('/', sse({}, (async () => {}) as never))
    await using at = await served(app)
    assert.equal((await fetch(at.running.url)).status, 500)
  })

  it('answers HEAD without beginning anything', async () => {
    let begun = 0
    const app = new Hono().get('/', sse({}, async function* () {
      begun++
      yield 'hello'
    })) // oxfmt-ignore
    await using at = await served(app)
    assert.equal((await fetch(at.running.url, { method: 'HEAD' })).status, 200)
    assert.equal(begun, 0)
  })
})

describe('streams of other kinds', () => {
  it('S2 ends an event stream of Hono at T1 with its last chunk, though it never ends by itself', async () => {
    const pool = perApp(() => 'pool')
    const app = new Hono().get('/', inject({ pool }), (c) =>
      streamSSE(c, async (stream) => {
        while (!stream.closed && !stream.aborted) {
          await stream.writeSSE({ data: 'tick' })
          await turns(1)
        }
      }),
    )
    const at = await served(app, { gracefulTimeout: '2s' }, { world: fastWorld(4) })
    using client = await listening(at.port)
    await client.sees('tick')
    const { clean } = await at.running.stop()
    assert.equal(clean, true)
    // The stop ends when the kernel has it all; who reads has it a moment later
    await client.fin()
    assert.ok(client.received.endsWith(LAST_CHUNK))
  })

  it('S2 ends an event stream that a Node listener writes, and takes what it writes then', async () => {
    let goesOn = true
    const at = await served(((_: unknown, response: ServerResponse) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      void (async () => {
        while (goesOn) {
          response.write('data: tick\n\n')
          await turns(1)
        }
      })()
    }) as never, { gracefulTimeout: '2s' }, { world: fastWorld(4) }) // oxfmt-ignore
    using client = await listening(at.port)
    await client.sees('tick')
    const { clean } = await at.running.stop()
    goesOn = false
    assert.equal(clean, true)
    // The stop ends when the kernel has it all; who reads has it a moment later
    await client.fin()
    assert.ok(client.received.endsWith(LAST_CHUNK))
    assert.deepEqual(at.told.all('error'), [])
  })
})

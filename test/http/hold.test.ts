import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, it } from 'node:test'
import { StewardError } from '../../src/base/errors.ts'
import { holdResponse, type Held } from '../../src/http/hold.ts'
import { Counter } from '../helpers/gate.ts'
import { RawClient, type RawResponse } from '../helpers/raw-client.ts'
import { serving } from '../helpers/serving.ts'

type App = (response: ServerResponse, held: Held, request: IncomingMessage) => unknown

const streams = (): Error =>
  new StewardError('ERR_HANDLER_STREAMS', 'Cannot stream: use perRequest')

/** What a client gets from an app whose response is held with a limit of 100 bytes. */
async function answerOf(app: App): Promise<RawResponse> {
  await using serves = await serving((request, response) =>
    app(response, holdResponse(response, streams, 100), request),
  )
  using client = await RawClient.connect(serves.port)
  return await client.request('GET /').response()
}

describe('holdResponse()', () => {
  it('R11 keeps back what was written until it is released', async () => {
    const seen: unknown[] = []
    const { status, headers, body } = await answerOf((response, held) => {
      seen.push(held.status(), held.ended)
      response.setHeader('A', '1')
      response.writeHead(201, { B: '2' })
      seen.push(held.status(), held.ended, response.headersSent)
      response.end('body')
      seen.push(held.ended, response.writableEnded, response.socket!.bytesWritten)
      held.release()
    })
    assert.deepEqual(seen, [undefined, false, 201, false, true, true, true, 0])
    assert.deepEqual([status, headers.a, headers.b, body], [201, '1', '2', 'body'])
  })

  it('R11 forgets what was written, headers too, so that a 500 can be sent', async () => {
    const { status, headers, body } = await answerOf((response, held) => {
      response.setHeader('Kept', 'yes')
      held.release()
      const again = holdResponse(response, streams)
      response.setHeader('Content-Length', '4')
      response.setHeader('Connection', 'close')
      response.writeHead(201, 'Fine', ['A', '1', 'Date', 'never'])
      response.end('done')
      again.discard()
      again.release()
      assert.equal(response.headersSent, false)
      response.statusCode = 500
      response.end('the commit failed')
    })
    assert.deepEqual([status, headers.a, headers.kept], [500, undefined, 'yes'])
    assert.equal(headers.connection, 'keep-alive')
    assert.match(headers.date!, /GMT$/)
    assert.equal(body, 'the commit failed')
  })

  it('R11 is dropped when the handler fails', async () => {
    const { status, body } = await answerOf((response) => {
      response.writeHead(200, { A: '1' }).end('done')
      throw new Error('the commit failed')
    })
    assert.deepEqual([status, body], [500, 'Internal Server Error\n'])
  })

  const ways: Record<string, (response: ServerResponse) => unknown> = {
    'write()': (response) => response.write('x'),
    'flushHeaders()': (response) => response.flushHeaders(),
    'pipe()': (response) => Readable.from(['x']).pipe(response),
    'pipeline()': (response) => pipeline(Readable.from(['x']), response),
    'a body over the limit': (response) => response.end('x'.repeat(101)),
    'a large body of bytes': (response) => response.end(Buffer.alloc(101)),
  }
  for (const [way, stream] of Object.entries(ways)) {
    it(`R11 refuses ${way}, and can still answer`, async () => {
      const { status, body } = await answerOf(async (response, held) => {
        await assert.rejects(async () => await stream(response), { code: 'ERR_HANDLER_STREAMS' })
        held.discard()
        response.writeHead(500).end('refused')
      })
      assert.deepEqual([status, body], [500, 'refused'])
    })
  }

  it('R11 takes headers in every form that writeHead takes', async () => {
    for (const headers of [
      { A: '1', B: ['2', '3'] },
      ['A', '1', 'B', ['2', '3']],
      [
        ['A', '1'],
        ['B', ['2', '3']],
      ],
    ]) {
      const answer = await answerOf((response, held) => {
        response.setHeader('a', 'other')
        response.writeHead(200, 'Fine', headers as string[])
        assert.throws(() => response.writeHead(200), { code: 'ERR_HTTP_HEADERS_SENT' })
        response.end()
        held.release()
      })
      assert.deepEqual([answer.headers.a, answer.headers.b], ['1', '3'])
    }
  })

  it('R11 leaves the response as it was: it can stream once it is released', async () => {
    const { body } = await answerOf((response, held) => {
      held.release()
      for (const name of ['write', 'end', 'writeHead', 'flushHeaders', 'headersSent']) {
        assert.equal(Object.hasOwn(response, name), false, name)
      }
      response.write('one ')
      response.end('two')
    })
    assert.equal(body, 'one two')
  })

  it('R11 gets along with a middleware that wraps what is held', async () => {
    const { headers, body } = await answerOf((response, held) => {
      const { end } = response
      response.end = function (this: ServerResponse, ...args: unknown[]) {
        return (end as (...args: unknown[]) => ServerResponse).apply(this, [`<${String(args[0])}>`])
      } as typeof end
      response.writeHead(200, { A: '1' })
      response.end('body')
      held.release()
    })
    assert.deepEqual([headers.a, body], ['1', '<body>'])
  })

  it('R11 hands over a head without a body', async () => {
    const { status, body } = await answerOf((response, held) => {
      response.writeHead(202)
      held.release()
      assert.equal(response.headersSent, true)
      response.end('later')
    })
    assert.deepEqual([status, body], [202, 'later'])
  })

  it('H10 is answered 503 at T2 though it was held', async () => {
    const arrived = new Counter()
    await using serves = await serving(async (_, response, exchange) => {
      const held = holdResponse(response, streams)
      arrived.add()
      response.writeHead(200).end('kept back')
      await new Promise((resolve) => exchange.signal.addEventListener('abort', resolve))
      await serves.event('request.cut')
      held.release()
    })
    using client = await RawClient.connect(serves.port)
    client.request('GET /')
    await arrived.reached(1)
    const drained = serves.drain({ t1: 20, t2: 40 })
    assert.equal((await client.response()).status, 503)
    await drained
    assert.equal(serves.server.served.cut, 1)
  })
})

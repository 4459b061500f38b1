import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import { describe, it } from 'node:test'
import { Hono } from 'hono'
import { sse, websocket } from '../../src/adapters/hono.ts'
import { perApp, perRequest } from '../../src/scope/resource.ts'
import { answerTo, Http2Client } from '../helpers/http2-client.ts'
import { echo, served } from '../helpers/sockets.ts'
import { turns } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

describe('where HTTP/2 is spoken, too', () => {
  it('answers a stream to a WebSocket 426, and serves the WebSocket of an HTTP/1.1 client beside it', async () => {
    const app = new Hono().get('/', websocket({}, echo))
    await using at = await served(app, {}, { http2: true })
    const client = await Http2Client.connect(at.port)
    const { status, body } = await answerTo(client.open('GET /'))
    assert.deepEqual(
      [status, body],
      [426, 'Cannot open a WebSocket: this path speaks WebSocket, over HTTP/1.1'],
    )
    using socket = await WsClient.connect(at.port)
    socket.ws.send('hello')
    assert.equal(await socket.next(), 'hello')
    const stopped = at.running.stop()
    assert.equal((await socket.end).code, 1001)
    client.session.close()
    assert.equal((await stopped).clean, true)
  })

  it('S1 S2 sends a last event, ends the stream whole, and closes the app after its cleanup', async () => {
    const lines: string[] = []
    const db = perApp(function* () {
      yield 'db'
      lines.push('db closed')
    })
    const app = new Hono().get(
      '/',
      sse({ db }, async function* (_deps, _c, { signal }) {
        try {
          yield 'hello'
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
        } finally {
          await turns(5)
          lines.push('cleaned up')
        }
      }),
    )
    const at = await served(app, {}, { http2: true })
    const client = await Http2Client.connect(at.port)
    const stream = client.open('GET /')
    const answer = answerTo(stream)
    await new Promise((resolve) => stream.once('data', resolve))
    const stopped = at.running.stop()
    const { status, body, reset } = await answer
    assert.deepEqual([status, reset], [200, 0])
    assert.match(body, /event: shutdown\nretry: \d{4}\ndata: the service is stopping\n\n$/)
    assert.equal((await stopped).clean, true)
    assert.deepEqual(lines, ['cleaned up', 'db closed'])
  })

  it('R10 resets a stream whose generator throws, and tells it once', async () => {
    const endings: string[] = []
    const unit = perRequest(function* () {
      const end = yield 'unit'
      endings.push(end.ok ? 'ok' : String(end.error))
    })
    const app = new Hono().get(
      '/',
      sse({ unit }, async function* () {
        yield 'hello'
        throw new Error('broken')
      }),
    )
    const at = await served(app, {}, { http2: true })
    const client = await Http2Client.connect(at.port)
    const { reset } = await answerTo(client.open('GET /'))
    assert.equal(reset, constants.NGHTTP2_INTERNAL_ERROR)
    client.session.close()
    assert.equal((await at.running.stop()).clean, true)
    const failed = at.told.all('request.failed').map(({ error }) => String(error))
    assert.deepEqual([failed, endings], [['Error: broken'], ['Error: broken']])
  })
})

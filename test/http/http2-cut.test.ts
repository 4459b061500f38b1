import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { isStewardError } from '../../src/base/errors.ts'
import type { Exchange } from '../../src/http/exchange.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { uint32 } from '../helpers/frames.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { answerTo, Http2Client } from '../helpers/http2-client.ts'
import { Program } from '../helpers/program.ts'
import { RawHttp2 } from '../helpers/raw-http2.ts'
import { root } from '../helpers/repository.ts'
import { byAlpn, byFirstBytes } from '../helpers/ways.ts'
import { within } from '../helpers/within.ts'

for (const { name, serving, isSecure: tls } of [byFirstBytes, byAlpn]) {
  describe(`the end of the grace over HTTP/2, ${name}`, () => {
    it('H10 answers a stream without a head 503 at T2, and counts and names it', async () => {
      const arrived = new Counter()
      const gate = new Gate()
      await using serves = await serving(async (_, response) => {
        response.setHeader('X-Secret', 'of the app')
        arrived.add()
        await gate.opened
        response.writeHead(200, { late: 'yes' }).end('late')
      })
      using client = await Http2Client.connect(serves.port, { tls })
      const answer = client.request('GET /slow?token=secret')
      await arrived.reached(1)
      const drained = serves.drain({ t1: 30, t2: 60 })
      const { status, headers, body, reset } = await answer
      assert.deepEqual([status, body, reset], [503, 'Service Unavailable\n', 0])
      assert.ok(Number(headers['retry-after']) > 0)
      assert.deepEqual([headers['x-secret'], headers.connection], [undefined, undefined])
      const { method, url, answered } = await serves.event('request.cut')
      assert.deepEqual({ method, url, answered }, { method: 'GET', url: '/slow', answered: true })
      gate.open()
      await drained
      assert.deepEqual(serves.server.served, { requests: 1, cut: 1, left: 0, refused: 0 })
      assert.deepEqual(problems(serves.events), [])
    })

    it('H10 answers HEAD and a half-uploaded body 503 too', async () => {
      const arrived = new Counter()
      const gate = new Gate()
      await using serves = await serving(async (request) => {
        arrived.add()
        request.resume()
        await gate.opened
      })
      using client = await Http2Client.connect(serves.port, { tls })
      const upload = client.open('POST /upload', { end: false })
      const answers = [client.request('HEAD /head'), answerTo(upload)]
      upload.write('half')
      await arrived.reached(2)
      const drained = serves.drain({ t1: 20, t2: 40, cleanup: 5_000 })
      const [head, posted] = await Promise.all(answers)
      assert.deepEqual([head!.status, head!.body, head!.reset], [503, '', 0])
      assert.deepEqual([posted!.status, posted!.body], [503, 'Service Unavailable\n'])
      assert.equal(posted!.reset, constants.NGHTTP2_NO_ERROR)
      gate.open()
      assert.ok((await drained) < 2_000, 'it does not wait for the rest of the body')
      assert.deepEqual(serves.server.served, { requests: 2, cut: 2, left: 0, refused: 0 })
      assert.deepEqual(problems(serves.events), [])
    })

    it('H10 resets a stream with its head sent at T2; the others of its session are unharmed', async () => {
      const arrived = new Counter()
      await using serves = await serving((request, response, exchange) => {
        arrived.add()
        if (request.url === '/endless') return void response.write('first')
        exchange.signal.addEventListener('abort', () => response.end('in the last moment'))
      })
      using peer = await RawHttp2.connect(serves.port, { tls })
      const endless = peer.request('/endless')
      const other = peer.request('/other')
      await arrived.reached(2)
      await peer.frame('DATA', endless)
      const drained = serves.drain({ t1: 30, t2: 200 })
      assert.equal(await peer.body(other), 'in the last moment')
      const { payload } = await peer.frame('RST_STREAM', endless)
      assert.deepEqual(payload, uint32(constants.NGHTTP2_CANCEL))
      assert.deepEqual(peer.all('RST_STREAM', other), [])
      const { url, answered } = await serves.event('request.cut')
      assert.deepEqual({ url, answered }, { url: '/endless', answered: false })
      await peer.client.fin()
      await drained
      assert.deepEqual(serves.server.served, { requests: 2, cut: 1, left: 0, refused: 0 })
      assert.deepEqual(serves.server.waiting(), [])
    })

    it('H10 does not call a stream cut whose response is out and only its request is not', async () => {
      const arrived = new Counter()
      await using serves = await serving((request, response) => {
        arrived.add()
        request.resume()
        response.end('answer')
      })
      using peer = await RawHttp2.connect(serves.port, { tls })
      const stream = peer.request('/upload', { method: 'POST', end: false })
      peer.data(stream, 'half')
      assert.equal(await peer.body(stream), 'answer')
      await serves.drain({ t1: 30, t2: 60 })
      const resets = peer.all('RST_STREAM', stream).map(({ payload }) => payload.readUInt32BE(0))
      assert.ok(resets.every((code) => code === constants.NGHTTP2_NO_ERROR))
      assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
    })

    it('H10 cuts a stream whose reader has stopped, and names it', async () => {
      await using serves = await serving((_, response) => void response.end('x'.repeat(1_000_000)))
      using peer = await RawHttp2.connect(serves.port, { tls })
      const stream = peer.request('/large')
      await peer.frame('DATA', stream)
      const took = await serves.drain({ t1: 50, t2: 100 })
      assert.ok(took < 2_000, `took ${took} ms`)
      assert.equal((await serves.event('request.cut')).url, '/large')
      assert.deepEqual(serves.server.served, { requests: 1, cut: 1, left: 0, refused: 0 })
    })

    it('aborts the signal at T1 with ERR_GRACE_SPENT', async () => {
      const exchanges: Exchange[] = []
      const arrived = new Counter()
      await using serves = await serving((_, response, exchange) => {
        exchanges.push(exchange)
        exchange.signal.addEventListener('abort', () => response.end('aborted'))
        arrived.add()
      })
      using client = await Http2Client.connect(serves.port, { tls })
      const answer = client.request('GET /')
      await arrived.reached(1)
      await serves.drain({ t1: 50 })
      assert.equal((await answer).body, 'aborted')
      const { reason } = exchanges[0]!.signal
      assert.ok(isStewardError(reason) && reason.code === 'ERR_GRACE_SPENT')
    })

    it('abandons a handler that outlives the cleanups, with its session', async () => {
      const arrived = new Counter()
      await using serves = await serving((_, response) => {
        response.end('answer')
        arrived.add()
        return new Promise(() => {})
      })
      using client = await Http2Client.connect(serves.port, { tls })
      assert.equal((await client.request('GET /stuck')).body, 'answer')
      await serves.drain({ t1: 20, t2: 40, cleanup: 80 })
      assert.equal((await serves.event('handler.abandoned')).url, '/stuck')
      assert.equal(serves.server.served.cut, 1)
    })

    it('G3 ends a session with an endless stream whose peer does nothing any more', async () => {
      await using serves = await serving((_, response) => void response.write('first'), {
        world: fastWorld(10),
      })
      using peer = await RawHttp2.connect(serves.port, { tls, holdOpen: true, paused: true })
      peer.request('/endless')
      await new Promise((resolve) => peer.client.socket.once('readable', resolve))
      const took = await serves.drain({ t1: 500, t2: 1_000, cleanup: 20_000 })
      assert.ok(took < 1_500, `took ${took} ms`)
      assert.equal((await serves.event('request.cut')).url, '/endless')
      assert.deepEqual(serves.server.served, { requests: 1, cut: 1, left: 0, refused: 0 })
    })

    it('G3 does not stand still when an app has closed a stream before its answer was out', async () => {
      const path = join(root, 'test/programs/streams-end.ts')
      using program = new Program([path], { env: { TLS: tls ? 'yes' : 'no' } })
      assert.deepEqual(await within(8_000, program.exit(), 'its end'), { code: 0, signal: null })
    })

    it('close() ends everything at once', async () => {
      const arrived = new Counter()
      await using serves = await serving(() => arrived.add())
      using client = await Http2Client.connect(serves.port, { tls })
      const answer = client.request('GET /')
      await arrived.reached(1)
      await serves.server.close()
      assert.equal((await answer).status, 0)
      await client.closed
    })
  })
}

function problems(events: readonly { type: string }[]): unknown[] {
  return events.filter(({ type }) => type === 'error' || type === 'request.failed')
}

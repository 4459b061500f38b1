import assert from 'node:assert/strict'
import { once } from 'node:events'
import { constants, type Http2ServerResponse } from 'node:http2'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { isStewardError } from '../../src/base/errors.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { frame } from '../helpers/frames.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { answerTo, Http2Client } from '../helpers/http2-client.ts'
import { RawHttp2 } from '../helpers/raw-http2.ts'
import { byAlpn, byFirstBytes } from '../helpers/ways.ts'
import { turns } from '../helpers/within.ts'

for (const { name, serving, connect, isSecure: tls } of [byFirstBytes, byAlpn]) {
  describe(`streams of HTTP/2, ${name}`, () => {
    for (const line of ['GET /', 'HEAD /']) {
      it(`S3 aborts the signal when the client resets ${line}, and its scope is over`, async () => {
        const arrived = new Counter()
        const over = new Gate()
        const reasons: unknown[] = []
        await using serves = await serving(async (_, __, exchange) => {
          exchange.whenOver(() => over.open())
          const aborted = once(exchange.signal, 'abort')
          arrived.add()
          await aborted
          reasons.push(exchange.signal.reason)
        })
        using client = await Http2Client.connect(serves.port, { tls })
        const stream = client.open(line)
        await arrived.reached(1)
        stream.close(constants.NGHTTP2_CANCEL)
        await over.opened
        assert.ok(isStewardError(reasons[0]) && reasons[0].code === 'ERR_CLIENT_GONE')
        assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 1, refused: 0 })
        assert.deepEqual(serves.server.waiting(), [])
      })
    }

    const ways: Record<string, (client: Http2Client) => void> = {
      'destroys its session': (client) => client.session.destroy(),
      'resets its socket': (client) => client.session.socket.destroy(),
    }
    for (const [way, leave] of Object.entries(ways)) {
      it(`S3 counts every stream as left when the client ${way}`, async () => {
        const arrived = new Counter()
        const over = new Counter()
        await using serves = await serving((_, response, exchange) => {
          exchange.whenOver(() => over.add())
          response.write('first')
          arrived.add()
        })
        using client = await Http2Client.connect(serves.port, { tls })
        const answers = [client.request('GET /1'), client.request('GET /2')]
        await arrived.reached(2)
        leave(client)
        await over.reached(2)
        await Promise.all(answers)
        assert.deepEqual(serves.server.served, { requests: 2, cut: 0, left: 2, refused: 0 })
        assert.ok((await serves.drain()) < 500)
        assert.deepEqual(problems(serves.events), [])
      })
    }

    it('X2 hands out nothing of a request behind its end, which a Web stream would die of', async () => {
      const arrived = new Gate()
      const failures: unknown[] = []
      await using serves = await serving(async (request, response) => {
        const strategy = { highWaterMark: 0 }
        const body = Readable.toWeb(request, { strategy }).getReader()
        request.read(0)
        for (let left = 500; request.readableLength === 0 && left > 0; left--) await turns(1)
        // The piece that has come is to be handed out in the next tick, and the stream ends before
        const piece = body.read().catch((error: unknown) => failures.push(error))
        ;(response as unknown as Http2ServerResponse).stream.close(constants.NGHTTP2_CANCEL)
        await piece
        await turns(2)
        failures.push(request.errored)
        arrived.open()
      })
      using client = await Http2Client.connect(serves.port, { tls })
      client.open('POST /', { end: false }).write('a piece')
      await arrived.opened
      assert.equal(failures.length, 2)
      assert.equal((failures[1] as NodeJS.ErrnoException).code, 'ECONNRESET')
    })

    it('X2 bounds a client that opens and resets a thousand streams', async () => {
      let open = 0
      let most = 0
      await using serves = await serving((request, response, exchange) => {
        if (request.url === '/last') return void response.end()
        most = Math.max(most, ++open)
        exchange.whenOver(() => void open--)
      })
      using peer = await RawHttp2.connect(serves.port, { tls })
      for (let count = 0; count < 1_000; count++) peer.reset(peer.request('/'))
      await Promise.race([peer.frame('GOAWAY'), peer.body(peer.request('/last'))])
      peer.client.destroy()
      await turns(20)
      assert.equal(open, 0, 'every exchange that began is over')
      assert.ok(most <= 250, `${most} at a time`)
      assert.ok((await serves.drain()) < 500)
      assert.deepEqual(problems(serves.events), [])
    })

    it('ends what is left of a request with NO_ERROR, behind the end of its answer', async () => {
      await using serves = await serving((_, response) => void response.end('answer'))
      using peer = await RawHttp2.connect(serves.port, { tls })
      const stream = peer.request('/upload', { method: 'POST', end: false })
      const { payload } = await peer.frame('RST_STREAM', stream)
      assert.equal(payload.readUInt32BE(0), 0)
      // Whole before the reset: a part of it would look like an answer that was cut
      assert.equal(await peer.body(stream), 'answer')
      assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
    })

    it('X2 survives a head and its reset in one piece', async () => {
      await using serves = await serving((_, response) => void response.end('answer'))
      using peer = await RawHttp2.connect(serves.port, { tls })
      const { stream, bytes } = peer.head('/gone')
      peer.write(bytes, frame('RST_STREAM', { stream }, Buffer.of(0, 0, 0, 8)))
      assert.equal(await peer.body(peer.request('/')), 'answer')
      assert.deepEqual(problems(serves.events), [])
    })

    it('X2 ends a connection that speaks nonsense, and goes on', async () => {
      await using serves = await serving((_, response) => void response.end('answer'))
      using peer = await RawHttp2.connect(serves.port, { tls })
      peer.write(frame('DATA', { stream: 0 }, Buffer.from('nonsense')))
      await peer.client.closed
      using client = await Http2Client.connect(serves.port, { tls })
      assert.equal((await client.request('GET /')).body, 'answer')
      assert.ok((await serves.drain({ idle: 0 })) < 500)
    })

    it('ends a connection whose client has said GOAWAY and never closes', async () => {
      await using serves = await serving((_, response) => void response.end('answer'), {
        world: fastWorld(10),
      })
      using peer = await RawHttp2.connect(serves.port, { tls, holdOpen: true })
      await peer.body(peer.request('/'))
      peer.write(frame('GOAWAY', {}, Buffer.alloc(8)))
      await peer.client.fin()
      const took = await serves.drain({ idle: 0 })
      assert.ok(took < 1_000, `took ${took} ms, ten times as fast`)
    })

    it('H12 continues a request that expects it', async () => {
      await using serves = await serving(async (request, response) => {
        response.end((await request.setEncoding('utf8').toArray()).join(''))
      })
      using client = await Http2Client.connect(serves.port, { tls })
      const stream = client.open('POST /', { headers: { expect: '100-continue' }, end: false })
      const answer = answerTo(stream)
      await once(stream, 'continue')
      stream.end('four')
      assert.equal((await answer).body, 'four')
      const other = await client.request('POST /', { expect: 'miracles' })
      assert.equal(other.status, 417)
    })

    it('refuses CONNECT 405, pushes nothing, and knows HEAD, trailers and odd headers', async () => {
      await using serves = await serving((request, response) => {
        const { stream } = response as unknown as Http2ServerResponse
        assert.equal(stream.pushAllowed, false)
        response.setHeader('Connection', 'keep-alive')
        response.setHeader('Trailer', 'sum')
        response.addTrailers({ sum: '6' })
        response.end(request.method === 'HEAD' ? undefined : 'answer')
      })
      using client = await Http2Client.connect(serves.port, { tls })
      client.session.settings({ enablePush: false })
      const connecting = client.session.request({ ':method': 'CONNECT', ':authority': 'a:1' })
      connecting.end()
      assert.equal((await answerTo(connecting)).status, 405)
      assert.equal((await client.request('HEAD /')).status, 200)
      const stream = client.open('GET /')
      const trailers = once(stream, 'trailers')
      const { status, body, headers } = await answerTo(stream)
      assert.deepEqual([status, body, headers.connection], [200, 'answer', undefined])
      assert.equal((await trailers)[0].sum, '6')
      assert.deepEqual(problems(serves.events), [])
    })

    it('keeps the error of a handler to its stream', async () => {
      await using serves = await serving((request, response) => {
        if (request.url === '/late') response.write('first')
        if (request.url !== '/') throw new Error('broken')
        response.end('answer')
      })
      using client = await Http2Client.connect(serves.port, { tls })
      assert.equal((await client.request('GET /early')).status, 500)
      assert.notEqual((await client.request('GET /late')).reset, 0)
      assert.equal((await client.request('GET /')).body, 'answer')
      assert.deepEqual(client.goneAway, [])
    })

    it('turns streams away with 503 from the stage on that was asked for', async () => {
      const serves = await serving((_, response) => void response.end(), { refuseFrom: 'stopping' })
      await using _ = serves
      using client = await Http2Client.connect(serves.port, { tls })
      serves.server.stopping()
      for (const line of ['GET /', 'HEAD /', 'POST /']) {
        const { status, headers } = await client.request(line)
        assert.deepEqual([status, headers['retry-after']], [503, '1'])
      }
      assert.equal(serves.server.served.refused, 3)
    })

    it('forgets its connections when they are gone', async () => {
      await using serves = await serving((_, response) => void response.end('answer'))
      for (let round = 0; round < 50; round++) {
        using client = await Http2Client.connect(serves.port, { tls })
        await client.request('GET /')
      }
      serves.server.stopping()
      using last = await connect(serves.port)
      await last.request('GET /').response()
      await last.fin()
      await turns(5)
      assert.deepEqual(serves.server.waiting(), [])
      assert.ok((await serves.drain()) < 500)
    })
  })
}

function problems(events: readonly { type: string }[]): unknown[] {
  return events.filter(({ type }) => type === 'error' || type === 'request.failed')
}

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { constants } from 'node:http2'
import { describe, it } from 'node:test'
import { frame, goAwayOf, uint32 } from '../helpers/frames.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { answerTo, Http2Client } from '../helpers/http2-client.ts'
import { RawHttp2 } from '../helpers/raw-http2.ts'
import { byAlpn, byFirstBytes } from '../helpers/ways.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { blockLoop, turns } from '../helpers/within.ts'

for (const { name, serving, isSecure: tls } of [byFirstBytes, byAlpn]) {
  describe(`HTTP/2, ${name}`, () => {
    it('G1 lets the streams under way complete, says GOAWAY once with the last of them, then ends', async () => {
      const { gate, arrived, handler } = gated()
      await using serves = await serving(handler)
      using peer = await RawHttp2.connect(serves.port, { tls, holdOpen: true })
      const streams = [peer.request('/1'), peer.request('/2'), peer.request('/3')]
      await arrived.reached(3)
      const drained = serves.drain()
      const goAway = await peer.frame('GOAWAY')
      assert.deepEqual(goAwayOf(goAway), { last: streams[2], code: 0 })
      assert.equal(peer.client.ended, false)
      gate.open()
      for (const stream of streams) assert.equal(await peer.body(stream), 'answer')
      await peer.client.fin()
      peer.client.socket.end()
      await drained
      // Node says it again at the very end, and the same
      const { last } = goAwayOf(goAway)
      assert.ok(peer.all('GOAWAY').every((one) => goAwayOf(one).last === last))
      assert.equal(peer.client.error, undefined)
      assert.deepEqual(serves.server.served, { requests: 3, cut: 0, left: 0, refused: 0 })
    })

    it('G1 completes a half-uploaded body', async () => {
      const arrived = new Counter()
      await using serves = await serving(async (request, response) => {
        arrived.add()
        response.end((await request.setEncoding('utf8').toArray()).join(''))
      })
      using client = await Http2Client.connect(serves.port, { tls })
      const stream = client.open('POST /', { end: false })
      const answer = answerTo(stream)
      stream.write('half')
      await arrived.reached(1)
      const drained = serves.drain()
      await client.told()
      stream.end('full')
      assert.equal((await answer).body, 'halffull')
      await drained
    })

    it('G1 delivers responses that were ended just before', async () => {
      const size = 1_000_000
      await using serves = await serving((_, response) => void response.end('x'.repeat(size)))
      for (let round = 0; round < 10; round++) {
        using client = await Http2Client.connect(serves.port, { tls })
        const answers = ['/1', '/2', '/3'].map((path) => client.request(`GET ${path}`))
        if (round === 9) await client.request('GET /4')
        if (round === 9) serves.server.stopping()
        for (const { body } of await Promise.all(answers)) assert.equal(body.length, size)
      }
      await serves.drain()
      assert.equal(serves.server.served.cut, 0)
    })

    it('G1 delivers 20 MB that were ended but not sent, to a reader who comes late', async () => {
      const size = 20_000_000
      await using serves = await serving(
        (_, response) => void response.end(Buffer.alloc(size, 97)),
        {
          world: fastWorld(20),
        },
      )
      const window = 2 * size
      using peer = await RawHttp2.connect(serves.port, { tls, window, paused: true })
      const stream = peer.request('/')
      await once(peer.client.socket, 'readable')
      const drained = serves.drain({ t1: 100_000, t2: 110_000, cleanup: 120_000 })
      await serves.event('listener.closed')
      blockLoop(300)
      await turns(20)
      peer.client.resume()
      assert.equal((await peer.body(stream)).length, size)
      await drained
      assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
    })

    it('G1 lets a slow reader have its flow-controlled response', async () => {
      const size = 300_000
      await using serves = await serving((_, response) => void response.end('x'.repeat(size)))
      using peer = await RawHttp2.connect(serves.port, { tls })
      const stream = peer.request('/')
      await peer.client.until(() => sizeOf(peer, stream) === 65_535)
      const drained = serves.drain({ idle: 0 })
      await peer.frame('GOAWAY')
      assert.deepEqual(
        serves.server.waiting().map(({ what }) => what),
        ['GET /'],
      )
      while (sizeOf(peer, stream) < size) {
        const had = sizeOf(peer, stream)
        const more = uint32(50_000)
        peer.write(frame('WINDOW_UPDATE', {}, more), frame('WINDOW_UPDATE', { stream }, more))
        await peer.client.until(() => sizeOf(peer, stream) > had)
      }
      assert.equal((await peer.body(stream)).length, size)
      await drained
      assert.equal(serves.server.served.cut, 0)
    })

    it('G2 serves new streams during the lame duck', async () => {
      await using serves = await serving((_, response) => void response.end('answer'))
      using client = await Http2Client.connect(serves.port, { tls })
      serves.server.stopping()
      assert.equal((await client.request('GET /1')).body, 'answer')
      assert.equal((await client.request('GET /2')).body, 'answer')
      assert.deepEqual(client.goneAway, [])
      using late = await Http2Client.connect(serves.port, { tls })
      assert.equal((await late.request('GET /')).body, 'answer')
      await serves.drain({ idle: 0 })
      await Promise.all([client.told(), late.told()])
    })

    it('G2 gives an idle session its window: a stream in it is served, then comes GOAWAY', async () => {
      await using serves = await serving((_, response) => void response.end('answer'))
      using peer = await RawHttp2.connect(serves.port, { tls })
      await peer.body(peer.request('/'))
      const drained = serves.drain({ idle: 5_000 })
      await serves.event('listener.closed')
      assert.deepEqual(peer.all('GOAWAY'), [])
      const stream = peer.request('/')
      assert.equal(await peer.body(stream), 'answer')
      assert.equal(goAwayOf(await peer.frame('GOAWAY')).last, stream)
      assert.ok((await drained) < 2_000, 'over as soon as no connection is left')
    })

    it('G2 says GOAWAY to an idle session when its window is over', async () => {
      await using serves = await serving((_, response) => void response.end('answer'))
      using peer = await RawHttp2.connect(serves.port, { tls })
      const stream = peer.request('/')
      await peer.body(stream)
      const took = await serves.drain({ idle: 100 })
      assert.equal(goAwayOf(await peer.frame('GOAWAY')).last, stream)
      await peer.client.fin()
      assert.ok(took >= 95 && took < 600, `took ${took} ms`)
    })

    it('G2 gives a session on which nothing has come 5 s, and no more', async () => {
      await using serves = await serving((_, response) => void response.end(), {
        world: fastWorld(20),
      })
      using peer = await RawHttp2.connect(serves.port, { tls })
      const took = await serves.drain({ idle: 0 })
      assert.deepEqual(goAwayOf(await peer.frame('GOAWAY')), { last: 0, code: 0 })
      await peer.client.fin()
      assert.ok(took >= 240 && took < 900, `took ${took} ms, twenty times as fast`)
    })

    it('G1 never executes a stream that comes after GOAWAY: the client may send it elsewhere', async () => {
      const seen: string[] = []
      const gate = new Gate()
      await using serves = await serving(async (request, response) => {
        seen.push(request.url!)
        await gate.opened
        response.end('answer')
      })
      using peer = await RawHttp2.connect(serves.port, { tls })
      const first = peer.request('/1')
      const drained = serves.drain()
      const { last } = goAwayOf(await peer.frame('GOAWAY'))
      assert.equal(last, first)
      const second = peer.request('/2')
      assert.ok(second > last)
      peer.write(frame('PING', {}, Buffer.alloc(8)))
      await peer.frame('PING')
      gate.open()
      assert.equal(await peer.body(first), 'answer')
      await peer.client.fin()
      await drained
      assert.deepEqual(seen, ['/1'])
      assert.deepEqual(
        peer.frames.filter(({ stream, type }) => stream === second && type !== 'RST_STREAM'),
        [],
      )
    })

    it('G1 tells a program that its stream was refused, so that it can ask again', async () => {
      const { gate, arrived, handler } = gated()
      await using serves = await serving(handler)
      using client = await Http2Client.connect(serves.port, { tls })
      const first = client.request('GET /')
      await arrived.reached(1)
      const drained = serves.drain()
      await client.told()
      const late = client.request('GET /late')
      gate.open()
      assert.equal((await first).body, 'answer')
      // Node's client says of it what it says of every end of a session
      assert.equal((await late).status, 0)
      assert.notEqual((await late).reset, constants.NGHTTP2_NO_ERROR)
      await drained
      assert.equal(serves.server.served.requests, 1)
    })

    it('G3 ends a session whose peer never closes', async () => {
      await using serves = await serving((_, response) => void response.end('answer'), {
        world: fastWorld(10),
      })
      using peer = await RawHttp2.connect(serves.port, { tls, holdOpen: true })
      await peer.body(peer.request('/'))
      const took = await serves.drain({ idle: 0 })
      assert.ok(took >= 190 && took < 900, `took ${took} ms, ten times as fast`)
      assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
    })
  })
}

function sizeOf(peer: RawHttp2, stream: number): number {
  return peer.all('DATA', stream).reduce((sum, { payload }) => sum + payload.length, 0)
}

/** A handler that answers when the gate is opened. */
function gated() {
  const gate = new Gate()
  const arrived = new Counter()
  const handler = async (_: unknown, response: { end(text: string): unknown }): Promise<void> => {
    arrived.add()
    await gate.opened
    response.end('answer')
  }
  return { gate, arrived, handler }
}

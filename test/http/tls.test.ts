import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import tls from 'node:tls'
import { fastWorld } from '../helpers/fast-world.ts'
import { Counter, Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { byAlpn, overTls } from '../helpers/ways.ts'
import { blockLoop, turns, within } from '../helpers/within.ts'

const answer = (_: unknown, response: { end(text: string): unknown }): void => {
  response.end('answer')
}

for (const { name, serving, connect } of [overTls, byAlpn]) {
  describe(`TLS, ${name}`, () => {
    it('H14 ends a handshake under way within 5 s of the drain, and an untouched one too', async () => {
      await using serves = await serving(answer, { world: fastWorld(20) })
      using silent = await RawClient.connect(serves.port)
      using half = await RawClient.connect(serves.port)
      half.send(String.fromCharCode(0x16, 3, 1, 2, 0, 1))
      using idle = await connect(serves.port)
      await idle.request('GET /').response()
      const took = await serves.drain({ idle: 0 })
      await Promise.all([silent.closed, half.closed, idle.closed])
      assert.ok(took >= 240 && took < 900, `took ${took} ms, twenty times as fast`)
      assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
    })

    it('H14 lets a handshake that began before the drain complete, and serves its request', async () => {
      await using serves = await serving(answer)
      using wire = await RawClient.connect(serves.port, { paused: true })
      const drained = serves.drain()
      await serves.event('listener.closed')
      const socket = tls.connect({ socket: wire.wire, rejectUnauthorized: false })
      await within(5_000, once(socket, 'secureConnect'), 'the handshake')
      using client = new RawClient(wire.wire, socket, false)
      const { body, headers } = await client.request('GET /').response()
      assert.deepEqual([body, headers.connection], ['answer', 'close'])
      await drained
    })

    it('H14 sends close_notify before its FIN', async () => {
      await using serves = await serving(answer)
      await using spy = await spyOn(serves.port)
      using client = await connect(spy.port)
      await client.request('GET /').response()
      const drained = serves.drain({ idle: 20 })
      await client.fin()
      await drained
      assert.equal(client.error, undefined)
      const records = recordsOf(spy.received())
      const before = records.filter(({ type }) => type !== 'alert')
      // TLS 1.3 hides an alert in a record of application data, of 19 bytes: two, their type and the tag
      const last = records.at(-1)!
      assert.ok(last.type === 'alert' || last.length === 19, JSON.stringify(last))
      assert.ok(before.length > 1)
    })

    it('H14 sends the alert close_notify with TLS 1.2', async () => {
      await using serves = await serving(answer)
      await using spy = await spyOn(serves.port)
      const socket = tls.connect({
        port: spy.port,
        maxVersion: 'TLSv1.2',
        rejectUnauthorized: false,
      })
      await within(5_000, once(socket, 'secureConnect'), 'the handshake')
      using client = new RawClient(socket, socket, false)
      await client.request('GET /').response()
      await serves.drain({ idle: 20 })
      await client.fin()
      assert.equal(recordsOf(spy.received()).at(-1)!.type, 'alert')
    })

    it('H14 delivers 20 MB that were ended but not sent, to a reader who comes late', async () => {
      const size = 20_000_000
      const world = fastWorld(20)
      const big = Buffer.alloc(size, 97)
      await using serves = await serving((_, response) => void response.end(big), { world })
      using client = await connect(serves.port, { paused: true })
      client.request('GET /')
      await once(client.socket, 'readable')
      const drained = serves.drain({ t1: 100_000, t2: 110_000, cleanup: 120_000 })
      await serves.event('listener.closed')
      blockLoop(300)
      await turns(20)
      client.resume()
      await client.closed
      assert.equal(client.received.length - client.received.indexOf('\r\n\r\n') - 4, size)
      await drained
      assert.deepEqual(serves.server.served, { requests: 1, cut: 0, left: 0, refused: 0 })
    })

    it('X2 survives what is no handshake, and goes on', async () => {
      await using serves = await serving(answer)
      using plain = await RawClient.connect(serves.port)
      await plain.request('GET /').closed
      using gone = await RawClient.connect(serves.port)
      gone.send(String.fromCharCode(0x16, 3, 1)).reset()
      using client = await connect(serves.port)
      assert.equal((await client.request('GET /').response()).body, 'answer')
      client.destroy()
      await client.closed
      assert.ok((await serves.drain()) < 500)
    })

    for (const offered of [['http/1.1'], [] as string[]]) {
      it(`G4 serves HTTP/1.1 to a client that offers ${offered[0] ?? 'nothing'}`, async () => {
        const { gate, arrived } = { gate: new Gate(), arrived: new Counter() }
        await using serves = await serving(async (_, response) => {
          arrived.add()
          await gate.opened
          response.end('answer')
        })
        using client = await RawClient.connect(serves.port, { tls: offered })
        client.request('GET /')
        await arrived.reached(1)
        const drained = serves.drain()
        await serves.event('listener.closed')
        gate.open()
        assert.equal((await client.response()).headers.connection, 'close')
        await client.fin()
        await drained
      })
    }

    it('is named by its URL', async () => {
      await using serves = await serving(answer)
      assert.equal(serves.server.url, `https://127.0.0.1:${serves.port}`)
    })
  })
}

interface Record {
  type: 'handshake' | 'alert' | 'data' | 'other'
  length: number
}

/** The records of TLS in the order in which they came (RFC 8446 §5.1). */
function recordsOf(bytes: Buffer): Record[] {
  const types: { [type: number]: Record['type'] } = { 21: 'alert', 22: 'handshake', 23: 'data' }
  const records: Record[] = []
  for (let at = 0; at + 5 <= bytes.length; at += 5 + bytes.readUInt16BE(at + 3)) {
    records.push({ type: types[bytes[at]!] ?? 'other', length: bytes.readUInt16BE(at + 3) })
  }
  return records
}

/** A port that leads to another one, and remembers what came from there. */
async function spyOn(port: number) {
  const received: Buffer[] = []
  const server = net.createServer({ allowHalfOpen: true }, (near) => {
    const far = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    far.on('data', (chunk) => received.push(chunk))
    for (const socket of [near, far]) socket.on('error', () => socket.destroy())
    near.pipe(far)
    far.pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    received: () => Buffer.concat(received),
    [Symbol.asyncDispose]: async () => void server.close(),
  }
}

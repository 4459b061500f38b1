import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket as NetSocket } from 'node:net'
import { describe, it } from 'node:test'
import { deflateRawSync } from 'node:zlib'
import { Hono } from 'hono'
import { WebSocketServer } from 'ws'
import { websocket, type Socket } from '../../src/adapters/hono.ts'
import type { ServerSocket } from '../../src/websocket/socket.ts'
import { drain, prepare } from '../../src/http/index.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { echo, served } from '../helpers/sockets.ts'
import { turns } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

const TEXT = 'the quick brown fox jumps over the lazy dog. '.repeat(1_000)

/** Bytes that no compression makes smaller. */
function noise(size: number): Buffer {
  const bytes = Buffer.alloc(size)
  let state = 7
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0
    bytes[at] = state >>> 24
  }
  return bytes
}

/** What a client's connection has received, in bytes. */
function received({ ws }: WsClient): number {
  return (ws as unknown as { _socket: NetSocket })._socket.bytesRead
}

/** A frame of a client, masked with nothing; its first reserved bit says that it is compressed (RFC 7692 §6). */
function frame(first: number, payload: Buffer): string {
  const head = Buffer.alloc(14)
  head[0] = first
  head[1] = 0x80 | 127
  head.writeUIntBE(payload.length, 4, 6)
  return Buffer.concat([head, payload]).toString('latin1')
}

const COMPRESSED_TEXT = 0xc1

function handshake(offer: string): string {
  return `GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: ${offer}\r\n\r\n`
}

/** A client that has offered something, and the head of the answer. */
async function offering(port: number, offer: string): Promise<{ client: RawClient; head: string }> {
  const client = await RawClient.connect(port)
  client.send(handshake(offer))
  await client.sees('\r\n\r\n')
  const [head = ''] = client.received.split('\r\n\r\n')
  return { client, head: head.toLowerCase() }
}

describe('compression', () => {
  it('is off by default, and on only with clients that offer it', async () => {
    const app = new Hono()
      .get('/off', websocket({}, echo))
      .get('/on', websocket({}, echo, { compression: true }))
    await using at = await served(app)
    for (const [path, perMessageDeflate, isSmall] of [
      ['/off', true, false],
      ['/on', false, false],
      ['/on', true, true],
    ] as const) {
      using client = await WsClient.connect(at.port, path, { perMessageDeflate })
      assert.equal(client.ws.extensions, isSmall ? 'permessage-deflate' : '')
      client.ws.send(TEXT)
      assert.equal(await client.next(), TEXT)
      client.ws.send(Buffer.from(TEXT))
      assert.deepEqual(await client.next(), Buffer.from(TEXT))
      assert.equal(received(client) < TEXT.length / 5, isSmall, `${received(client)} bytes`)
      client.ws.close(4000)
      assert.equal((await client.end).code, 4000)
    }
  })

  it('leaves messages below its threshold as they are, and keeps the order', async () => {
    const compression = { threshold: 2_000 }
    const app = new Hono().get('/', websocket({}, echo, { compression }))
    await using at = await served(app)
    using client = await WsClient.connect(at.port)
    const before = received(client)
    client.ws.send(TEXT.slice(0, 1_999))
    await client.next()
    assert.ok(received(client) - before > 1_999)
    const sent = Array.from({ length: 60 }, (_, index) => TEXT.slice(0, (index % 5) * 1_000) + index) // oxfmt-ignore
    for (const one of sent) client.ws.send(one)
    const back: unknown[] = []
    while (back.length < sent.length) back.push(await client.next())
    assert.deepEqual(back, sent)
  })

  it('declines an offer that cannot be accepted or read, and connects all the same', async () => {
    await using at = await served(new Hono().get('/', websocket({}, echo, { compression: true })))
    for (const offer of [
      'permessage-deflate; server_max_window_bits=9',
      'permessage-deflate; unheard_of',
      'permessage-deflate; client_max_window_bits=7',
      'permessage-deflate;;',
      'x-webkit-deflate-frame',
    ]) {
      const { client, head } = await offering(at.port, offer)
      using _ = client
      assert.match(head, /^http\/1.1 101 /, offer)
      assert.doesNotMatch(head, /sec-websocket-extensions/, offer)
    }
    const { client, head } = await offering(at.port, 'permessage-deflate')
    using _ = client
    assert.match(head, /server_no_context_takeover/)
    assert.deepEqual(at.told.all('request.failed'), [])
  })

  it('closes with 1009 on a message that is too large once it is decompressed, and with 1007 on a broken one', async () => {
    const seen: unknown[] = []
    const app = new Hono().get(
      '/',
      websocket(
        {},
        async (socket) => {
          for await (const message of socket) seen.push(message)
        },
        { compression: true, maxPayload: 65_536 },
      ),
    )
    await using at = await served(app)
    const bomb = deflateRawSync(Buffer.alloc(60_000_000))
    assert.ok(bomb.length < 65_536)
    const before = process.memoryUsage().arrayBuffers
    const first = await offering(at.port, 'permessage-deflate')
    using bombing = first.client
    bombing.send(frame(COMPRESSED_TEXT, bomb))
    await bombing.sees('\x88\x02\x03\xf1')
    const grown = process.memoryUsage().arrayBuffers - before
    assert.ok(grown < 10_000_000, `${grown} bytes were made of it`)
    const second = await offering(at.port, 'permessage-deflate')
    using broken = second.client
    broken.send(frame(COMPRESSED_TEXT, noise(500)))
    await broken.sees('\x88\x02\x03\xef')
    const lines = at.told.all('request.failed').map(({ error }) => (error as Error).message)
    assert.deepEqual(lines, [
      'Cannot take a message: it is larger than "maxPayload"',
      'Cannot take a message: it cannot be decompressed',
    ])
    assert.deepEqual(seen, [])
  })

  it('waits with send() for a client that does not read, and counts what is not compressed yet', async () => {
    const [filled, resumed] = [new Gate<number>(), new Gate<boolean>()]
    const chunk = noise(200_000)
    const app = new Hono().get(
      '/',
      websocket(
        {},
        async (socket) => {
          const { raw } = socket as ServerSocket
          let waits = socket.send(chunk)
          assert.ok(socket.buffered >= chunk.length, 'it waits to be compressed')
          let isSent = false
          void waits.then(() => (isSent = true))
          await turns(0)
          assert.equal(isSent, false)
          let count = 1
          for (; ; count++) {
            while (socket.buffered > raw.writableLength) await turns(1)
            await turns(20)
            if (raw.writableLength > 65_536) break
            waits = socket.send(chunk)
          }
          filled.open(count)
          resumed.open(await waits)
          assert.ok(socket.buffered < 65_536)
          for await (const _ of socket);
        },
        { compression: true },
      ),
    )
    await using at = await served(app)
    using client = await WsClient.connect(at.port)
    client.ws.pause()
    const count = await filled.opened
    client.ws.resume()
    assert.equal(await resumed.opened, true)
    while (client.messages.length < count) await turns(1)
    assert.ok(client.messages.every((one) => chunk.equals(one as Buffer)))
  })

  it('W2 flushes what waits to be compressed before the Close frame, at a stop and at a forced one', async () => {
    const sockets = new Set<Socket>()
    const app = new Hono().get(
      '/',
      websocket(
        {},
        async (socket) => {
          sockets.add(socket)
          for await (const _ of socket);
        },
        { compression: true },
      ),
    )
    for (const how of ['stop', 'force'] as const) {
      sockets.clear()
      const at = await served(app)
      const clients = await Promise.all(Array.from({ length: 8 }, () => WsClient.connect(at.port)))
      const large = noise(100_000)
      for (const socket of sockets) for (let count = 0; count < 3; count++) void socket.send(large)
      const { clean, served: counted } = await at.running[how]()
      for (const { end, messages } of clients) {
        assert.equal((await end).code, 1001, how)
        assert.equal(messages.length, 3, how)
      }
      assert.deepEqual([clean, counted.sockets?.told], [true, 8])
    }
  })

  it('W9 lets the Close frame of another `ws` leave that compresses, when its drain is cut', async () => {
    const server = createServer()
    const wss = new WebSocketServer({ server, perMessageDeflate: true })
    prepare(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const connected = once(wss, 'connection')
    using client = await WsClient.connect((server.address() as AddressInfo).port)
    const [ws] = await connected
    for (let count = 0; count < 3; count++) ws.send(noise(1_000_000))
    const drained = drain(server, { within: '5s', signal: AbortSignal.abort() })
    assert.equal((await client.end).code, 1001)
    assert.equal(client.messages.length, 3)
    assert.deepEqual((await drained).cut, [])
  })
})

import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, it } from 'node:test'
import { WebSocketServer, type WebSocket } from 'ws'
import { drain, prepare } from '../../src/http/index.ts'
import { serve, service } from '../../src/index.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { pause } from '../helpers/pause.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { portOf, quietly } from '../helpers/services.ts'
import { Told } from '../helpers/told.ts'
import { turns } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

/** A server with a `WebSocketServer` of the app's own, which echoes. */
function withWs(): Server {
  const server = createServer((_, response) => void response.end('a page'))
  new WebSocketServer({ server }).on('connection', (ws) => {
    ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }))
  })
  return server
}

/** One whose WebSockets are of no library that we know: it says hello, and ends with the client. */
function withAnother(): Server {
  const server = createServer((_, response) => void response.end('a page'))
  return server.on('upgrade', ({ headers }, socket: Duplex) => {
    const key = `${headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
    const accept = createHash('sha1').update(key).digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    socket.write('\x81\x05hello', 'latin1')
    socket.on('error', () => {}).on('end', () => socket.end())
    socket.resume()
  })
}

async function listen(server: Server): Promise<number> {
  prepare(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

describe('a WebSocket of somebody else', () => {
  it('W9 of `ws` is closed in order by drain(), behind what was sent', async () => {
    const server = withWs()
    const port = await listen(server)
    const clients = await Promise.all([WsClient.connect(port), WsClient.connect(port)])
    clients[0].ws.send('hello')
    assert.equal(await clients[0].next(), 'hello')
    const drained = drain(server, { within: '5s' })
    for (const { end } of clients) assert.deepEqual(await end, { code: 1001, reason: '' })
    const { cut, took } = await drained
    assert.deepEqual(cut, [])
    assert.ok(took < 3_000, `took ${took} ms`)
  })

  it('W1 is closed by drain() with the code and the reason that it is given', async () => {
    for (const make of [withWs, withAnother]) {
      const server = make()
      const port = await listen(server)
      using client = await WsClient.connect(port)
      const goodbye = { code: 1012, reason: 'back soon' }
      const told = new Told()
      const drained = drain(server, { within: '5s', goodbye, on: told.on })
      assert.deepEqual(await client.end, goodbye)
      assert.deepEqual((await drained).cut, [])
      assert.equal((await told.event('goodbye.started')).code, 1012)
    }
  })

  it('is not closed with what no Close frame can hold: nothing is drained then', async () => {
    const server = withWs()
    const port = await listen(server)
    using client = await WsClient.connect(port)
    for (const goodbye of [
      { code: 1006 },
      { reason: 'x'.repeat(124) },
      null,
      'bye',
      { code: '1' },
    ]) {
      await assert.rejects(drain(server, { goodbye } as never), { code: 'ERR_BAD_OPTION' })
    }
    client.ws.send('still here')
    assert.equal(await client.next(), 'still here')
    await drain(server, { within: '5s', goodbye: {} })
    assert.deepEqual(await client.end, { code: 1001, reason: '' })
  })

  it('W9 of any other library gets a Close frame between two of its own', async () => {
    const server = withAnother()
    const port = await listen(server)
    using client = await WsClient.connect(port)
    assert.equal(await client.next(), 'hello')
    const drained = drain(server, { within: '5s' })
    assert.deepEqual(await client.end, { code: 1001, reason: '' })
    assert.deepEqual((await drained).cut, [])
  })

  it('W9 is served by a service whose app is the server that it is on, goodbye and all', async () => {
    for (const make of [withWs, withAnother]) {
      const app = service({ app: make(), goodbye: { reason: 'back soon' } })
      const running = await serve(app, quietly)
      const port = portOf(running)
      assert.equal(await (await fetch(running.url)).text(), 'a page')
      using client = await WsClient.connect(port)
      if (make === withWs) client.ws.send('hello')
      assert.equal(await client.next(), 'hello')
      const { clean, served } = await running.stop()
      assert.deepEqual(await client.end, { code: 1001, reason: 'back soon' })
      assert.deepEqual([clean, served.sockets], [true, { told: 1, lost: 0 }])
    }
  })

  it('W3 is waited for 5 s, named and counted, when its client does not return the Close', async () => {
    const told = new Told()
    const app = service({ app: withAnother() })
    const running = await serve(app, { ...quietly, on: told.on, world: fastWorld(10) })
    using silent = await RawClient.connect(portOf(running), { holdOpen: true })
    silent.send(
      'GET /chat?key=1234 HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    await silent.sees('hello')
    const { clean, served, took } = await running.stop()
    assert.deepEqual([clean, served.sockets], [true, { told: 1, lost: 1 }])
    assert.ok(took.draining >= 5_000 && took.draining < 19_000, `drained in ${took.draining} ms`)
    assert.equal((await told.event('socket.lost')).url, '/chat')
    const waited = told.all('drain.waiting').flatMap((event) => event.for)
    assert.ok(waited.some(({ kind, what }) => kind === 'socket' && what === 'GET /chat'))
    assert.ok(silent.received.endsWith('\x88\x02\x03\xe9'))
  })

  it('W9 has its time for what stands before the Close frame, when its client reads slowly', async () => {
    const server = createServer((_, response) => void response.end('a page'))
    const sockets = new WebSocketServer({ server })
    // What takes 5 s by rule takes 250 ms
    const app = service({ app: server, gracefulTimeout: '100s' })
    const running = await serve(app, { ...quietly, world: fastWorld(20) })
    const taken = once(sockets, 'connection')
    using client = await WsClient.connect(portOf(running))
    const [ws] = (await taken) as [WebSocket]
    client.ws.pause()
    for (let count = 0; count < 40; count++) ws.send(new Uint8Array(1_000_000))
    const stopped = running.stop()
    for (let left = ws.bufferedAmount; left > 10_000_000; left = ws.bufferedAmount) {
      client.ws.resume()
      while (ws.bufferedAmount === left && ws.readyState !== ws.CLOSED) await turns(1)
      client.ws.pause()
      await pause(150)
    }
    client.ws.resume()
    assert.equal((await client.end).code, 1001)
    assert.equal(client.messages.length, 40)
    const { clean, served } = await stopped
    assert.deepEqual([clean, served.sockets], [true, { told: 1, lost: 0 }])
  })

  it('refuses a server that listens already', async () => {
    const server = withWs()
    await listen(server)
    assert.throws(() => service({ app: server }), { code: 'ERR_APP_NOT_USABLE' })
    await drain(server)
  })
})

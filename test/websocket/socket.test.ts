import assert from 'node:assert/strict'
import type { Socket as NetSocket } from 'node:net'
import { after, before, describe, it } from 'node:test'
import fc from 'fast-check'
import type { Message } from '../../src/websocket/inbox.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { pairs } from '../helpers/lines.ts'
import { pause } from '../helpers/pause.ts'
import { turns, within } from '../helpers/within.ts'

const message = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom('x'.repeat(70_000), new Uint8Array(70_000)),
)

/** How a handler reads: it may be slow, and leave its loop for another one. */
const reading = fc.record({
  pauseEvery: fc.integer({ min: 1, max: 50 }),
  leaveAfter: fc.integer({ min: 1, max: 30 }),
})

describe('a WebSocket', () => {
  let server: Awaited<ReturnType<typeof pairs>>
  before(async () => (server = await pairs()))
  after(() => server[Symbol.asyncDispose]())

  it('W2 loses no message of the client and changes no order, however slowly it is read', async () => {
    const property = fc.asyncProperty(
      fc.array(message, { maxLength: 400 }),
      reading,
      async (messages, { pauseEvery, leaveAfter }) => {
        await using pair = await server.next()
        const { socket, client } = pair
        for (const one of messages) client.ws.send(one)
        client.ws.close(1000)
        const seen: Message[] = []
        for (let isLeft = true; isLeft;) {
          isLeft = false
          for await (const one of socket) {
            seen.push(one)
            if (seen.length % pauseEvery === 0) await turns(2)
            isLeft = seen.length % leaveAfter === 0
            if (isLeft) break
          }
        }
        assert.deepEqual(seen.map(plain), messages.map(plain))
      },
    )
    await within(60_000, fc.assert(property, { numRuns: 40 }), 'the property')
  })

  it('W2 sends everything in order before its Close, however slowly the client reads', async () => {
    const property = fc.asyncProperty(
      fc.array(message, { maxLength: 400 }),
      fc.boolean(),
      async (messages, waits) => {
        await using pair = await server.next()
        const { socket, client } = pair
        client.ws.pause()
        const sending = messages.map((one) => socket.send(one))
        client.ws.resume()
        if (waits) assert.ok((await Promise.all(sending)).every((more) => more))
        socket.close(4001)
        assert.equal(await socket.send('late'), false)
        assert.equal((await client.end).code, 4001)
        assert.deepEqual(client.messages.map(plain), messages.map(plain))
      },
    )
    await within(60_000, fc.assert(property, { numRuns: 40 }), 'the property')
  })

  it('W2 gives a client that reads slowly its time for what stands before the Close frame', async () => {
    // What takes 5 s by rule takes 250 ms
    await using fast = await pairs(fastWorld(20))
    await using pair = await fast.next()
    const { socket, client } = pair
    client.ws.pause()
    void socket.send(new Uint8Array(24_000_000))
    socket.close(4001)
    const { _socket: wire } = client.ws as unknown as { _socket: NetSocket }
    for (let step = 0; step < 4; step++) {
      const before = wire.bytesRead
      client.ws.resume()
      while (wire.bytesRead < before + 1_000_000) await turns(1)
      client.ws.pause()
      await pause(150)
    }
    assert.equal(socket.closed, undefined)
    client.ws.resume()
    assert.equal((await client.end).code, 4001)
    assert.equal((client.messages[0] as Buffer).length, 24_000_000)
  })

  it('ends one that takes nothing any more 5 s after the Close frame was sent', async () => {
    await using fast = await pairs(fastWorld(20))
    await using pair = await fast.next()
    const { socket, client } = pair
    client.ws.pause()
    for (let count = 0; count < 10; count++) void socket.send(new Uint8Array(1_000_000))
    socket.close(4001)
    const began = performance.now()
    for await (const _ of socket);
    const took = performance.now() - began
    assert.ok(took >= 200 && took < 3_000, `after ${took} ms`)
    assert.deepEqual(socket.closed, { code: 1006, reason: '' })
  })

  it('holds a client back that sends faster than it is read, and lets it go on', async () => {
    await using pair = await server.next()
    const { socket, client } = pair
    const chunk = Buffer.alloc(64_000)
    for (let count = 0; count < 400; count++) client.ws.send(chunk)
    while (!socket.isPaused) await turns(1)
    await turns(50)
    const read = socket.raw.bytesRead
    await turns(50)
    assert.equal(socket.raw.bytesRead, read, 'it reads on')
    assert.ok(read < 1_000_000, `${read} bytes were read ahead`)
    let seen = 0
    for await (const _ of socket) if (++seen === 400) break
    assert.equal(socket.isPaused, false)
  })

  it('tells by send() that a client does not read, and when it does', async () => {
    await using pair = await server.next()
    const { socket, client } = pair
    client.ws.pause()
    const chunk = new Uint8Array(1_000_000)
    let waits: Promise<boolean> | undefined
    while (socket.buffered === 0) waits = socket.send(chunk)
    await turns(10)
    assert.notEqual(socket.buffered, 0)
    client.ws.resume()
    assert.equal(await waits, true)
    assert.equal(socket.buffered, 0)
    client.ws.pause()
    while (socket.buffered === 0) waits = socket.send(chunk)
    client.ws.terminate()
    assert.equal(await waits, false)
  })
})

/** Texts and bytes, apart from one another. */
function plain(one: Message): string {
  return typeof one === 'string' ? `text ${one}` : `bytes ${Buffer.from(one).toString('base64')}`
}

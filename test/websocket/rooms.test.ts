import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Hono } from 'hono'
import { websocket } from '../../src/adapters/hono.ts'
import { open, rooms, service, serve } from '../../src/index.ts'
import { pairs } from '../helpers/lines.ts'
import { quietly } from '../helpers/services.ts'
import { turns } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

describe('rooms', () => {
  let server: Awaited<ReturnType<typeof pairs>>
  before(async () => (server = await pairs()))
  after(() => server[Symbol.asyncDispose]())

  it('tells everybody in a room, or everybody else, and nobody who has left', async () => {
    await using app = await open({ rooms })
    const all = app.values.rooms
    const members = [await server.next(), await server.next(), await server.next()]
    const [ada, bob, eve] = members.map(({ client }) => client) as [WsClient, WsClient, WsClient]
    const red = all.of('red')
    const seats = members.slice(0, 2).map(({ socket }) => red.join(socket))
    const blue = all.of('blue').join(members[2]!.socket)
    assert.deepEqual([red.size, all.size], [2, 2])
    assert.equal(seats[0]!.broadcast('from Ada'), 1)
    assert.equal(all.of('red').broadcast('to red'), 2)
    assert.equal(all.tellAll('to all'), 3)
    assert.equal(await ada.next(), 'to red')
    assert.equal(await ada.next(), 'to all')
    assert.deepEqual([await bob.next(), await bob.next(), await bob.next()], ['from Ada', 'to red', 'to all']) // oxfmt-ignore
    assert.equal(await eve.next(), 'to all')
    seats[1]!.leave()
    seats[1]!.leave()
    assert.equal(seats[0]!.broadcast('alone'), 0)
    seats[0]![Symbol.dispose]()
    blue.leave()
    assert.deepEqual([red.size, all.size, red.broadcast('nobody')], [0, 0, 0])
    const again = red.join(members[0]!.socket)
    assert.deepEqual([all.of('red').size, all.size], [1, 1])
    again.leave()
    for (const one of members) await one[Symbol.asyncDispose]()
  })

  it('forgets who was not told to leave, once the connection is over', async () => {
    await using app = await open({ rooms })
    const room = app.values.rooms.of('red')
    await using pair = await server.next()
    room.join(pair.socket)
    pair.client.ws.terminate()
    while (!pair.socket.closed) await turns(1)
    assert.deepEqual([room.broadcast('gone'), room.size, app.values.rooms.size], [0, 0, 0])
  })

  it('is held up by nobody, and parts with who is too far behind', async () => {
    await using app = await open({ rooms })
    const room = app.values.rooms.of('red')
    await using quick = await server.next()
    await using slow = await server.next()
    room.join(quick.socket)
    room.join(slow.socket)
    slow.client.ws.pause()
    const large = 'x'.repeat(100_000)
    while (slow.socket.buffered <= 1_048_576) {
      room.broadcast(large)
      await quick.client.next()
    }
    room.broadcast('the last')
    assert.equal(await quick.client.next(), 'the last')
    assert.ok(slow.socket.buffered < 1_300_000, `${slow.socket.buffered} bytes wait`)
    assert.equal(await slow.socket.send('more'), false)
    slow.client.ws.resume()
    assert.deepEqual(await slow.client.end, { code: 1013, reason: 'too far behind' })
  })

  it('L11 W1 is told by onShutdown, while everybody is still connected', async () => {
    const app = new Hono().get(
      '/:room',
      websocket({ rooms }, async (socket, { rooms }, c) => {
        using seat = rooms.of(c.req.param('room') ?? '').join(socket)
        for await (const message of socket) seat.broadcast(message)
      }),
    )
    const shutdown = service({
      app,
      resources: { rooms },
      onShutdown: ({ rooms }) => rooms.tellAll('going away'),
    })
    const running = await serve(shutdown, quietly)
    const port = Number(new URL(running.url).port)
    const clients = await Promise.all(['/red', '/red', '/blue'].map((path) => WsClient.connect(port, path))) // oxfmt-ignore
    clients[0]!.ws.send('hello')
    assert.equal(await clients[1]!.next(), 'hello')
    const stopped = running.stop()
    for (const client of clients) {
      assert.equal(await client.next(), 'going away')
      assert.equal((await client.end).code, 1001)
    }
    assert.equal((await stopped).clean, true)
  })

  it('refuses what is no name, and what is no message', async () => {
    await using app = await open({ rooms })
    assert.throws(() => app.values.rooms.of(7 as never), { code: 'ERR_BAD_OPTION' })
    await using pair = await server.next()
    using seat = app.values.rooms.of('red').join(pair.socket)
    assert.throws(() => app.values.rooms.tellAll({} as never), { code: 'ERR_BAD_OPTION' })
    assert.equal(seat.broadcast('fine'), 0)
  })
})

import { Hono } from 'hono'
import { rooms, service } from '../../src/index.ts'
import { websocket } from '../../src/adapters/hono.ts'

// A chat of one room: what a client sends goes to the others, and `?` is answered with the process.

const app = new Hono().get(
  '/',
  websocket({ rooms }, async (socket, { rooms }) => {
    using seat = rooms.of('all').join(socket)
    for await (const message of socket) {
      if (message === '?') await socket.send(String(process.pid))
      else seat.broadcast(message)
    }
  }),
)

export default service({
  app,
  resources: { rooms },
  onShutdown: ({ rooms }) => rooms.tellAll('going away'),
})

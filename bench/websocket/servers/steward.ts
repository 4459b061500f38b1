import { Hono } from 'hono'
import { serve, service } from '../../../src/index.ts'
import { websocket } from '../../../src/adapters/hono.ts'
import { ready } from '../child.ts'

/** Ours. */
const app = new Hono().get(
  '/',
  websocket({}, async (socket) => {
    for await (const message of socket) void socket.send(message)
  }),
)
const running = await serve(service({ app }), { port: 0, signals: false, health: false })
ready({ port: Number(new URL(running.url).port) }, async () => void (await running.stop()))

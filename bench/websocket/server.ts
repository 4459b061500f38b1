/**
 * A server that sends back what comes, in a process of its own: `node --expose-gc server.ts ws|steward|fastify|socket.io`. Tells its port, and
 * what it has used when asked; at SIGTERM it tells everybody, and closes as its library says.
 */
import websocketPlugin from '@fastify/websocket'
import { Hono } from 'hono'
import fastify from 'fastify'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server as SocketIo } from 'socket.io'
import { WebSocketServer } from 'ws'
import { websocket, type Socket } from '../../dist/adapters/hono.js'
import { serve, service } from '../../dist/index.js'

const WORDS = 'going away'

const listen: Record<string, () => Promise<number>> = {
  async ws() {
    const http = createServer()
    const server = new WebSocketServer({ server: http, maxPayload: 1_048_576 })
    server.on('connection', (ws) => {
      ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }))
    })
    process.once('SIGTERM', () => {
      for (const ws of server.clients) {
        ws.send(WORDS)
        ws.close(1001)
      }
      http.close()
    })
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    return (http.address() as AddressInfo).port
  },
  async steward() {
    const all = new Set<Socket>()
    const app = new Hono().get(
      '/',
      websocket({}, async (socket) => {
        all.add(socket)
        for await (const message of socket) void socket.send(message)
        all.delete(socket)
      }),
    )
    const onShutdown = (): void => {
      for (const one of all) void one.send(WORDS)
    }
    const running = await serve(service({ app, onShutdown }), { port: 0, host: '127.0.0.1' })
    return Number(new URL(running.url).port)
  },
  async fastify() {
    const app = fastify()
    await app.register(websocketPlugin)
    await app.register(async (inner) => {
      inner.get('/', { websocket: true }, (ws) => {
        ws.on('message', (data: Buffer, isBinary: boolean) => ws.send(data, { binary: isBinary }))
      })
    })
    process.once('SIGTERM', () => {
      for (const ws of app.websocketServer.clients) ws.send(WORDS)
      void app.close()
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    return (app.server.address() as AddressInfo).port
  },
  async 'socket.io'() {
    const http = createServer()
    const io = new SocketIo(http, { transports: ['websocket'] })
    io.on('connection', (socket) => {
      socket.on('message', (data) => socket.emit('message', data))
    })
    process.once('SIGTERM', () => {
      io.emit('message', WORDS)
      void io.close()
    })
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    return (http.address() as AddressInfo).port
  },
}

process.on('message', (asked) => {
  const { user, system } = process.cpuUsage()
  // What the collection takes belongs to no message
  if (asked === 'memory') for (let times = 0; times < 4; times++) globalThis.gc!()
  const { heapUsed, external } = process.memoryUsage()
  process.send?.({ cpu: user + system, held: heapUsed + external })
})
process.once('SIGTERM', () => process.disconnect())

process.send?.({ port: await listen[process.argv[2]!]!() })

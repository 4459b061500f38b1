import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { realWorld, type World } from '../../src/base/world.ts'
import { takenOf } from '../../src/http/internals.ts'
import { Pulse } from '../../src/websocket/pulse.ts'
import { ServerSocket } from '../../src/websocket/socket.ts'
import { WsClient } from './ws-client.ts'

/** A socket of ours and its client, without a service around them. */
export interface Pair extends AsyncDisposable {
  readonly socket: ServerSocket
  readonly client: WsClient
}

/** Makes pairs, on one server. */
export async function pairs(
  world: World = realWorld,
): Promise<{ next(): Promise<Pair> } & AsyncDisposable> {
  const http = createServer().listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  const server = new WebSocketServer({ server: http })
  const pulse = new Pulse(world, { every: 30_000, limit: 60_000 })
  const controller = new AbortController()
  return {
    async next() {
      const connected = once(server, 'connection')
      const client = await WsClient.connect(port)
      const [ws, request] = await connected
      const socket = new ServerSocket({
        raw: request.socket,
        world,
        pulse,
        signal: controller.signal,
        stopping: controller.signal,
        farewell: undefined,
        get taken() {
          return takenOf(request.socket)
        },
        accept: () => ws,
        accepted() {},
        faulty() {},
        parted() {},
      })
      socket.accept()
      const dispose = async (): Promise<void> => client.ws.terminate()
      return { socket, client, [Symbol.asyncDispose]: dispose }
    },
    [Symbol.asyncDispose]: async () => {
      for (const one of server.clients) one.terminate()
      server.close()
      http.close()
    },
  }
}

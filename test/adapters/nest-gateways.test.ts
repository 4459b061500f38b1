import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { INestApplication, WebSocketAdapter } from '@nestjs/common'
import { IoAdapter } from '@nestjs/platform-socket.io'
import { WsAdapter } from '@nestjs/platform-ws'
import { SubscribeMessage, WebSocketGateway, WebSocketServer } from '@nestjs/websockets'
import { io, type Socket } from 'socket.io-client'
import { serve } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { Counter } from '../helpers/gate.ts'
import { nestApp, platforms, type Method } from '../helpers/nest-door.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { portOf, quietly } from '../helpers/services.ts'
import { within } from '../helpers/within.ts'
import { WsClient } from '../helpers/ws-client.ts'

/** What a gateway and its app have told, in order. */
interface Told {
  readonly lines: string[]
  readonly left: Counter
}

/** A gateway that echoes; at the first moment of the stop it says something to each of its clients. */
function gateway(options: object, { lines, left }: Told): object {
  class Chat {
    readonly server!: { clients?: Set<{ send(text: string): void }>; emit?: Emit }

    say(_client: object, text: string): object {
      return { event: 'said', data: text }
    }

    handleDisconnect(): void {
      lines.push('disconnected')
      left.add()
    }

    beforeApplicationShutdown(): void {
      lines.push('beforeApplicationShutdown')
      for (const client of this.server.clients ?? []) client.send('going away')
      if (!this.server.clients) this.server.emit?.('going away')
    }

    onModuleDestroy(): void {
      lines.push('onModuleDestroy')
    }
  }
  WebSocketServer()(Chat.prototype, 'server')
  const descriptor = Object.getOwnPropertyDescriptor(Chat.prototype, 'say')!
  SubscribeMessage('say')(Chat.prototype, 'say', descriptor)
  WebSocketGateway(options)(Chat)
  return Chat
}

type Emit = (event: string) => void

const methods: Method[] = [{ path: '/page', interceptors: [], handle: () => 'a page' }]

type MakeAdapter = (app: INestApplication) => WebSocketAdapter

for (const platform of platforms) {
  const served = async (options: object, adapter: MakeAdapter) => {
    const told: Told = { lines: [], left: new Counter() }
    const app = await nestApp(platform, methods, { providers: [gateway(options, told)] })
    app.useWebSocketAdapter(adapter(app))
    const onDrained = (): void => void told.lines.push('onDrained')
    const running = await serve(service({ app, onDrained, gracefulTimeout: '10s' }), quietly)
    return { running, told, port: portOf(running) }
  }

  describe(`a gateway of Nest on ${platform}`, () => {
    it('W9 of ws is told, closed in order, and its hooks run at their stages', async () => {
      const { running, told, port } = await served({ path: '/chat' }, (app) => new WsAdapter(app))
      using client = await WsClient.connect(port, '/chat')
      client.ws.send(JSON.stringify({ event: 'say', data: 'hello' }))
      assert.equal(await client.next(), '{"event":"said","data":"hello"}')
      const page = await fetch(`${running.url}/page`, { headers: { connection: 'close' } })
      assert.equal(await page.text(), 'a page')
      const { clean, served: counted } = await running.stop()
      assert.equal(await client.next(), 'going away')
      assert.deepEqual(await client.end, { code: 1001, reason: '' })
      assert.deepEqual([clean, counted.sockets], [true, { told: 1, lost: 0 }])
      assert.deepEqual(told.lines, [
        'beforeApplicationShutdown',
        'disconnected',
        'onDrained',
        'onModuleDestroy',
      ])
    })

    it('W9 of Socket.IO is told, closed in order, and its hooks run at their stages', async () => {
      const { running, told, port } = await served({}, (app) => new IoAdapter(app))
      const client = connected(port, ['websocket'])
      await connects(client)
      const said = new Promise((resolve) => client.once('said', resolve))
      client.emit('say', 'hello')
      assert.equal(await within(5_000, said, 'the echo'), 'hello')
      const goodbye = new Promise((resolve) => client.once('going away', () => resolve(true)))
      const gone = new Promise((resolve) => client.once('disconnect', resolve))
      const { clean, served: counted } = await running.stop()
      assert.equal(await within(5_000, goodbye, 'the last word'), true)
      assert.equal(await within(5_000, gone, 'the end'), 'transport close')
      client.close()
      assert.deepEqual([clean, counted.sockets], [true, { told: 1, lost: 0 }])
      assert.deepEqual(told.lines, [
        'beforeApplicationShutdown',
        'disconnected',
        'onDrained',
        'onModuleDestroy',
      ])
    })

    it('answers the polls of Socket.IO beside the routes of the app, to the last word', async () => {
      const { running, port } = await served({}, (app) => new IoAdapter(app))
      using raw = await RawClient.connect(port)
      const { status, body } = await raw
        .request('GET /socket.io/?EIO=4&transport=polling')
        .response()
      assert.deepEqual([status, body.slice(0, 7)], [200, '0{"sid"'])
      assert.equal((await raw.request('GET /page').response()).body, 'a page')
      const client = connected(port, ['polling'])
      await connects(client)
      const goodbye = new Promise((resolve) => client.once('going away', () => resolve(true)))
      const { clean, served: counted } = await within(5_000, running.stop(), 'the stop')
      assert.equal(await within(5_000, goodbye, 'the last word'), true)
      client.close()
      assert.deepEqual([clean, counted.cut], [true, 0])
    })
  })
}

/** One that does not come back by itself. */
function connected(port: number, transports: string[]): Socket {
  return io(`http://127.0.0.1:${port}`, { transports, reconnection: false, forceNew: true })
}

function connects(client: Socket): Promise<unknown> {
  return within(5_000, new Promise((resolve) => client.once('connect', () => resolve(true))))
}

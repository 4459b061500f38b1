import { once } from 'node:events'
import { WebSocket, type ClientOptions } from 'ws'
import { within } from './within.ts'

/** What a client is refused with. */
export interface Refused {
  status: number
  body: string
}

/** A client of a WebSocket: what it has received, in order, and how it was closed. */
export class WsClient implements Disposable {
  readonly ws: WebSocket
  readonly messages: (string | Buffer)[] = []
  readonly closed: Promise<{ code: number; reason: string }>
  #wake: () => void = () => {}

  constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', (data, isBinary) => {
      this.messages.push(isBinary ? (data as Buffer) : String(data))
      this.#wake()
    })
    ws.on('error', () => {})
    this.closed = new Promise((resolve) =>
      ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() })),
    )
  }

  /** Connects to a port of 127.0.0.1; rejects when it is refused. */
  static async connect(
    port: number,
    path = '/',
    options: ClientOptions & { protocols?: string[] } = {},
  ): Promise<WsClient> {
    const { protocols = [], ...rest } = options
    const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, rest)
    const client = new WsClient(ws)
    await within(8_000, once(ws, 'open'), 'the WebSocket to open')
    return client
  }

  /** Connects in vain: what it was answered in the place of that. */
  static refused(
    port: number,
    path = '/',
    options: ClientOptions & { protocols?: string[] } = {},
  ): Promise<Refused> {
    const { protocols = [], ...rest } = options
    const ws = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, rest)
    ws.on('error', () => {})
    const refusal = new Promise<Refused>((resolve, reject) => {
      ws.on('open', () => reject(new Error('it was not refused')))
      ws.on('unexpected-response', (_, response) => {
        let body = ''
        response.on('data', (chunk) => (body += String(chunk)))
        response.on('end', () => resolve({ status: response.statusCode!, body }))
      })
    })
    return within(8_000, refusal, 'the refusal')
  }

  /** The next message that was not taken yet. */
  async next(): Promise<string | Buffer> {
    while (this.messages.length === 0) {
      const change = new Promise<void>((resolve) => (this.#wake = resolve))
      await within(8_000, change, 'a message')
    }
    return this.messages.shift()!
  }

  /** How it was closed. */
  get end(): Promise<{ code: number; reason: string }> {
    return within(10_000, this.closed, 'the WebSocket to close')
  }

  [Symbol.dispose](): void {
    this.ws.terminate()
  }
}

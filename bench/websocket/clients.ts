import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { WebSocket } from 'ws'

export const KINDS = ['ws', 'steward', 'fastify', 'socket.io'] as const
export type Kind = (typeof KINDS)[number]

/** What a server has used so far: microseconds of processor time, and bytes. */
export interface Used {
  readonly cpu: number
  readonly held: number
}

/** A server in a process of its own. */
export class Server implements Disposable {
  readonly process: ChildProcess
  readonly kind: Kind
  readonly #port: number

  private constructor(process: ChildProcess, kind: Kind, port: number) {
    this.process = process
    this.kind = kind
    this.#port = port
  }

  static async start(kind: Kind): Promise<Server> {
    const file = new URL('server.ts', import.meta.url)
    const child = fork(file, [kind], { execArgv: ['--expose-gc'], silent: true })
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    return new Server(child, kind, port)
  }

  async used(asked: 'time' | 'memory'): Promise<Used> {
    const answer = once(this.process, 'message')
    this.process.send(asked)
    return ((await answer) as [Used])[0]
  }

  /** So many clients that are connected; a few at a time, so that the queue of the kernel holds them. */
  async clients(count: number): Promise<WebSocket[]> {
    const all: WebSocket[] = []
    while (all.length < count) {
      const some = Math.min(100, count - all.length)
      all.push(...(await Promise.all(Array.from({ length: some }, () => this.#client()))))
    }
    return all
  }

  async #client(): Promise<WebSocket> {
    const isIo = this.kind === 'socket.io'
    const path = isIo ? '/socket.io/?EIO=4&transport=websocket' : '/'
    const ws = new WebSocket(`ws://127.0.0.1:${this.#port}${path}`)
    await once(ws, 'open')
    if (!isIo) return ws
    // Its own protocol: join the namespace, and wait to be told so
    const joined = new Promise<void>((resolve) => {
      ws.on('message', function hear(data) {
        if (!String(data).startsWith('40')) return
        ws.off('message', hear)
        resolve()
      })
    })
    ws.send('40')
    await joined
    return ws
  }

  [Symbol.dispose](): void {
    this.process.kill('SIGKILL')
  }
}

/** A message as this kind of server takes it, and gives it back. */
export function messageFor(kind: Kind, text: string): string {
  return kind === 'socket.io' ? `42${JSON.stringify(['message', text])}` : text
}

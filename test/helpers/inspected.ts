import { once } from 'node:events'
import net from 'node:net'
import type { Supervised } from './supervised.ts'
import { turns, within } from './within.ts'

/** A port of the loopback on which nothing listens. */
export async function freePort(): Promise<number> {
  await using server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as net.AddressInfo).port
}

/** A debugger, attached to a process whose inspector a signal has opened. Detached at the end of the block. */
export class Inspected implements AsyncDisposable {
  readonly #socket: WebSocket
  #count = 0

  private constructor(socket: WebSocket) {
    this.#socket = socket
  }

  static async attach(program: Supervised, pid: number): Promise<Inspected> {
    process.kill(pid, 'SIGUSR1')
    const socket = new WebSocket(await Inspected.isOpen(program))
    await within(5_000, once(socket, 'open'), 'the inspector')
    const debugged = new Inspected(socket)
    await debugged.#send('Debugger.enable')
    return debugged
  }

  /** Where the inspector is, once Node has printed it. */
  static async isOpen(program: Supervised): Promise<string> {
    const until = performance.now() + 10_000
    for (;;) {
      const [, url] = /Debugger listening on (ws:\S+)/.exec(program.stderr) ?? []
      if (url !== undefined) return url
      if (performance.now() > until) throw new Error(`No inspector: ${program.stderr}`)
      await turns(10)
    }
  }

  /** Resolves when it has stopped in a statement. */
  async pause(): Promise<void> {
    const paused = this.#heard((message) => message['method'] === 'Debugger.paused')
    await this.#send('Debugger.pause')
    await paused
  }

  resume(): Promise<void> {
    return this.#send('Debugger.resume')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close()
    if (this.#socket.readyState !== WebSocket.CLOSED) await once(this.#socket, 'close')
  }

  async #send(method: string): Promise<void> {
    const id = ++this.#count
    const answered = this.#heard((message) => message['id'] === id)
    this.#socket.send(JSON.stringify({ id, method }))
    await answered
  }

  #heard(fits: (message: Record<string, unknown>) => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const listener = ({ data }: MessageEvent): void => {
      if (!fits(JSON.parse(String(data)) as Record<string, unknown>)) return
      this.#socket.removeEventListener('message', listener)
      resolve()
    }
    this.#socket.addEventListener('message', listener)
    return within(10_000, promise, 'the debugger')
  }
}

import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import tls from 'node:tls'
import type { Outcome } from './outcome.ts'
import { ResponseReader, type Response } from './response-reader.ts'

/** How long an answer may take, in milliseconds: longer than every rival's timeout. */
export const PATIENCE = 13_000

export interface ClientOptions {
  /** Reads nothing until `read()`. */
  readonly paused?: boolean
  /** The certificate that the server must have; without it, no TLS. */
  readonly cert?: string | undefined
}

/** A request that was written, and waits for its answer. */
interface Waiting {
  readonly settle: (outcome: Outcome) => void
}

/**
 * A client over one connection, that knows what became of every request. It never tries again, keeps its connection until
 * the server closes it, and writes also when it has been told to stop.
 *
 * ```
 *  open ── the server's FIN, or a reset ──▶ over: what waits has its outcome
 * ```
 */
export class Client {
  readonly socket: Socket
  readonly #reader = new ResponseReader((response) => this.#answered(response))
  readonly #waiting: Waiting[] = []
  readonly #over = Promise.withResolvers<void>()
  #state: 'open' | 'over' = 'open'
  #begun = false
  /** Has the server reset the connection? */
  wasReset = false
  /** Told how many bytes have come in so far. */
  onRead: ((bytes: number) => void) | undefined = undefined
  /** Has a response said that it is the last one? */
  toldToClose = false

  private constructor(socket: Socket, { paused }: ClientOptions) {
    this.socket = socket
    socket.setNoDelay()
    if (!paused) this.read()
    socket.on('end', () => this.#end(this.#reader.isWithin ? 'truncated' : 'ended'))
    socket.on('error', () => {
      this.wasReset = true
      this.#end(this.#reader.isWithin ? 'truncated' : 'reset')
    })
    socket.on('close', () => this.#end('ended'))
  }

  /** @throws what the connection failed with */
  static async connect(port: number, options: ClientOptions = {}): Promise<Client> {
    const { cert } = options
    const where = { port, host: '127.0.0.1' }
    const socket = cert ? tls.connect({ ...where, ca: cert }) : net.connect(where)
    try {
      await once(socket, cert ? 'secureConnect' : 'connect')
    } catch (error) {
      socket.destroy()
      throw error
    }
    return new Client(socket, options)
  }

  read(): void {
    this.socket.on('data', (bytes: Buffer) => {
      this.#reader.read(bytes)
      if (this.#reader.current?.saysClose) this.toldToClose = true
      this.onRead?.(this.socket.bytesRead)
    })
  }

  /** Writes a whole request, and resolves with what became of it. */
  get(path: string): Promise<Outcome> {
    return this.finish(`GET ${path} HTTP/1.1\r\nHost: bench\r\n\r\n`)
  }

  post(path: string, body = 'body'): Promise<Outcome> {
    const headers = `Host: bench\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}`
    return this.finish(`POST ${path} HTTP/1.1\r\n${headers}\r\n\r\n${body}`)
  }

  /** Writes a part of a request, of which the rest follows. */
  begin(text: string): void {
    this.#begun = true
    this.socket.write(text, 'latin1')
  }

  /** Writes the rest of a request, and resolves with what became of it. */
  finish(text: string): Promise<Outcome> {
    if (this.#state === 'over') return Promise.resolve(this.#begun ? 'cut off' : 'turned away')
    this.#begun = false
    this.socket.write(text, 'latin1')
    return this.outcome()
  }

  /** What comes back for a request that has been written, or begun. */
  outcome(): Promise<Outcome> {
    const { promise, resolve } = Promise.withResolvers<Outcome>()
    const limit = setTimeout(resolve, PATIENCE, 'silent')
    this.#waiting.push({
      settle: (outcome) => {
        clearTimeout(limit)
        resolve(outcome)
      },
    })
    return promise
  }

  /** Resolves when the server has closed. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  #answered({ status, saysClose }: Response): void {
    if (saysClose) this.toldToClose = true
    this.#waiting.shift()?.settle(status === 200 ? 'answered' : `status ${status}`)
  }

  /** Of several requests on a connection, at most the first has a part of its answer. */
  #end(outcome: Outcome): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    const [first, ...others] = this.#waiting.splice(0)
    first?.settle(outcome)
    for (const other of others) other.settle(outcome === 'truncated' ? 'ended' : outcome)
    this.#over.resolve()
  }
}

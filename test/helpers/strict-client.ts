import { once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { MalformedResponse, ResponseParser, type Answer, type Question } from './response-parser.ts'
import { within } from './within.ts'

/** A request as it is to be written. */
export interface Asking extends Question {
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** Send the body in chunks of so many bytes. */
  readonly chunked?: number
}

/**
 * What became of a request: `answered` whole, with whatever status; `behind a close`: an answer before it said that it is the
 * last; `fin` and `reset`: the connection ended before a byte of the answer; `truncated`: in the middle of it; `malformed`: no
 * answer that a server may give; `unanswered`: nothing came for as long as the client waits; `left`: the client went itself.
 */
export type Fate =
  | 'answered'
  | 'behind a close'
  | 'fin'
  | 'reset'
  | 'truncated'
  | 'malformed'
  | 'unanswered'
  | 'left'

/** One request of a connection, and what became of it. */
export interface Asked {
  readonly asking: Asking
  /** How much of it the kernel was given. */
  written: 'nothing' | 'a part' | 'all'
  /** When its first byte was written. */
  readonly at: number
  /** How long nothing had been under way on the connection before its first byte, in milliseconds. */
  readonly idle: number
  fate: Fate | undefined
  /** When its fate was known. */
  until: number
  answer: Answer | undefined
  /** Interim responses: 100 stands for "continue". */
  interim: readonly number[]
}

export interface StrictClientOptions {
  /** How long an answer may take, in milliseconds. @default 10_000 */
  patience?: number
  /** Is our side kept open when the server has ended its own? @default false */
  holdOpen?: boolean
  /** Encrypt it, whatever the server's certificate says. @default false */
  tls?: boolean
}

interface Entry {
  readonly asked: Asked
  readonly parser: ResponseParser
}

/** How many lines of its trace a connection keeps. */
const TRACE = 40

/** How much of what was sent or came a line of it shows, in bytes. */
const SHOWN = 200

/**
 * An HTTP/1.1 connection that counts what it asks: every request that was written and not wholly answered is there by its fate.
 * Nothing is retried, reused against the rules, or taken for an answer that is none. Over any duplex: plain, TLS, in memory.
 */
export class StrictClient {
  readonly socket: Duplex
  /** What is under the encryption; the same where there is none. */
  readonly #wire: Duplex
  /** Every request, in the order in which it was asked. */
  readonly asked: Asked[] = []
  /** What was sent and came, with its time. */
  readonly trace: string[] = []
  /** What came though nothing was asked, or behind the last answer. */
  extra = ''
  /** How the server ended it. */
  ended: 'fin' | 'reset' | undefined = undefined
  /** What the client did to it. */
  left: 'closed' | 'reset' | undefined = undefined
  /** Our side was ended, to hear the answers still. */
  isHalfClosed = false
  readonly #patience: number
  readonly #began = performance.now()
  readonly #waiting: Entry[] = []
  readonly #closed: Promise<void>
  #quietSince = performance.now()
  #isLast = false
  #wake: () => void = () => {}
  #changed: Promise<void> = new Promise((resolve) => (this.#wake = resolve))

  constructor(socket: Duplex, { patience = 10_000 }: StrictClientOptions = {}, wire = socket) {
    this.socket = socket
    this.#wire = wire
    this.#patience = patience
    socket.on('data', (bytes: Buffer) => this.#note(() => this.#read(bytes)))
    socket.on('end', () => this.#note(() => this.#end('fin')))
    socket.on('error', (error: NodeJS.ErrnoException) => this.#note(() => this.#fail(error)))
    this.#closed = new Promise((resolve) =>
      socket.on('close', () => this.#note(() => resolve(this.#end('reset')))),
    )
  }

  /** Connects to a port of 127.0.0.1. @throws `ECONNREFUSED` when nobody listens, and what ends a handshake */
  static async connect(port: number, options: StrictClientOptions = {}): Promise<StrictClient> {
    const allowHalfOpen = options.holdOpen ?? false
    const wire = net.connect({ port, host: '127.0.0.1', allowHalfOpen, noDelay: true })
    const socket = options.tls ? tls.connect({ socket: wire, rejectUnauthorized: false }) : wire
    const connected = once(socket, options.tls ? 'secureConnect' : 'connect')
    await within(options.patience ?? 10_000, connected, 'the connection')
    return new StrictClient(socket, options, wire)
  }

  /** May another request be written? Not behind an answer that says close, nor on what has ended. */
  get isOpen(): boolean {
    return !this.#isLast && this.ended === undefined && this.left === undefined
  }

  /** Resolves when both sides are closed. */
  get closed(): Promise<void> {
    return within(this.#patience, this.#closed, 'the connection to be closed')
  }

  /** Counts a request that is about to be written, by `write`. */
  begin(asking: Asking): Asked {
    const idle = this.#waiting.length === 0 ? performance.now() - this.#quietSince : 0
    const asked: Asked = {
      asking,
      at: performance.now(),
      idle,
      written: 'nothing',
      fate: undefined,
      until: Infinity,
      answer: undefined,
      interim: [],
    }
    this.asked.push(asked)
    if (this.isOpen) this.#waiting.push({ asked, parser: new ResponseParser(asking) })
    else meet(asked, this.left ? 'left' : this.#isLast ? 'behind a close' : this.ended!)
    return asked
  }

  /** Writes a part of a request, or the last of it; resolves when the kernel has it, or never will. */
  async write(asked: Asked, bytes: Buffer, last: boolean): Promise<void> {
    if (!this.socket.writable) return
    this.#tell(`> ${show(bytes)}${last ? '' : ' …'}`)
    asked.written = last ? 'all' : 'a part'
    const { promise, resolve } = Promise.withResolvers<void>()
    this.socket.write(bytes, () => resolve())
    await Promise.race([promise, this.#closed])
  }

  /** Writes a whole request at once. */
  ask(asking: Asking): Asked {
    const asked = this.begin(asking)
    void this.write(asked, Buffer.concat([headOf(asking), bodyOf(asking)]), true)
    return asked
  }

  /** Waits for the fate of a request; it is `unanswered` when the client has waited long enough. */
  async over(asked: Asked): Promise<Asked> {
    await this.#until(() => asked.fate !== undefined)
    if (asked.fate === undefined) this.#note(() => this.#settle('unanswered'))
    return asked
  }

  /** Waits until the server wants the body, or has answered without it. */
  async continued(asked: Asked): Promise<boolean> {
    await this.#until(() => asked.fate !== undefined || asked.interim.includes(100))
    return asked.fate === undefined && asked.interim.includes(100)
  }

  /** Waits for the end that the server makes of the connection; `false` when it makes none. */
  async sawEnd(): Promise<boolean> {
    await this.#until(() => this.ended !== undefined)
    return this.ended !== undefined
  }

  /** Ends our side only: whatever was asked is still to be answered. */
  halfClose(): void {
    this.isHalfClosed = true
    this.#tell('> FIN')
    this.socket.end()
  }

  /** Goes, whatever is under way. */
  leave(how: 'closed' | 'reset' = 'closed'): void {
    if (this.left === undefined && this.ended === undefined) {
      this.left = how
      this.#tell(how === 'reset' ? '> RST' : '> closes')
      this.#settle('left')
    }
    // While a FIN is on its way the system refuses a reset, and Node then never tells that the socket has closed
    if (how === 'reset' && this.#wire instanceof net.Socket && !this.socket.writableEnded) {
      this.#wire.resetAndDestroy()
    } else this.socket.destroy()
  }

  /** Reads no more, until `resume`. */
  pause(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  [Symbol.dispose](): void {
    this.leave()
  }

  async #until(holds: () => boolean): Promise<void> {
    const until = performance.now() + this.#patience
    while (!holds() && performance.now() < until) {
      const left = Math.max(1, until - performance.now())
      await within(left, this.#changed).catch(() => {})
    }
  }

  #note(change: () => void): void {
    change()
    const wake = this.#wake
    this.#changed = new Promise((resolve) => (this.#wake = resolve))
    wake()
  }

  #tell(what: string): void {
    this.trace.push(`${(performance.now() - this.#began).toFixed(1)} ms ${what}`)
    if (this.trace.length > TRACE) this.trace.splice(TRACE / 2, 1)
  }

  #read(bytes: Buffer): void {
    this.#tell(`< ${show(bytes)}`)
    for (let rest = bytes; rest.length > 0;) {
      const [entry] = this.#waiting
      if (!entry) return void (this.extra += rest.toString('latin1'))
      try {
        rest = entry.parser.feed(rest)
      } catch (error) {
        if (!(error instanceof MalformedResponse)) throw error
        this.#tell(`! ${error.message}`)
        return this.#settle('malformed')
      }
      entry.asked.interim = entry.parser.interim
      if (entry.parser.answer) this.#answered(entry, entry.parser.answer)
    }
  }

  #answered({ asked }: Entry, answer: Answer): void {
    this.#waiting.shift()
    asked.answer = answer
    meet(asked, 'answered')
    this.#quietSince = performance.now()
    if (answer.keepsAlive) return
    this.#isLast = true
    this.#settle('behind a close')
  }

  #fail(error: NodeJS.ErrnoException): void {
    this.#tell(`< ${error.code ?? error.message}`)
    // What we cannot write tells nothing of what was sent to us before
    if (error.code !== 'EPIPE') this.#end('reset')
  }

  #end(how: 'fin' | 'reset'): void {
    if (this.ended !== undefined || this.left !== undefined) return
    this.ended = how
    if (how === 'fin') this.#tell('< FIN')
    const [entry] = this.#waiting
    const answer = how === 'fin' ? entry?.parser.end() : undefined
    if (entry && answer) this.#answered(entry, answer)
    else if (entry?.parser.begun) {
      this.#tell(`! truncated: ${entry.parser.progress}`)
      this.#waiting.shift()
      meet(entry.asked, 'truncated')
    }
    this.#settle(how)
  }

  /** The fate of everything that is waited for. */
  #settle(fate: Fate): void {
    for (const { asked } of this.#waiting.splice(0)) meet(asked, fate)
  }
}

function meet(asked: Asked, fate: Fate): void {
  asked.fate = fate
  asked.until = performance.now()
}

/** The head of a request, as a well-behaved client writes it. */
export function headOf({ method = 'GET', target, version = '1.1', ...asking }: Asking): Buffer {
  const { headers = {}, body, chunked } = asking
  const length: Record<string, string> = body ? { 'Content-Length': String(body.length) } : {}
  const framing = chunked ? { 'Transfer-Encoding': 'chunked' } : length
  const lines = Object.entries({ Host: 'test', ...framing, ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  return Buffer.from(`${method} ${target} HTTP/${version}\r\n${lines.join('')}\r\n`, 'latin1')
}

/** The body of a request, framed as its head says. */
export function bodyOf({ body, chunked }: Asking): Buffer {
  if (!body) return Buffer.alloc(0)
  if (!chunked) return body
  const parts: Buffer[] = []
  for (let at = 0; at < body.length; at += chunked) {
    const part = body.subarray(at, at + chunked)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'))
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}

function show(bytes: Buffer): string {
  const text = JSON.stringify(bytes.toString('latin1', 0, SHOWN))
  return bytes.length > SHOWN ? `${text} and ${bytes.length - SHOWN} bytes more` : text
}

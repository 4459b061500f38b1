import { once } from 'node:events'
import net from 'node:net'
import tls from 'node:tls'
import { within } from './within.ts'

/** A response as it came over the wire. */
export interface RawResponse {
  status: number
  headers: Record<string, string>
  body: string
}

export interface RawClientOptions {
  /** Keep our side open after the server's FIN. */
  holdOpen?: boolean
  /** Read nothing until `resume()`. */
  paused?: boolean
  /** Encrypt it, whatever the server's certificate says; a list: the protocols to offer by ALPN. */
  tls?: boolean | string[]
}

/** A client that sees every byte: nothing is sent, retried or closed that the test did not ask for. */
export class RawClient {
  readonly socket: net.Socket
  /** What is under the encryption; the same where there is none. */
  readonly wire: net.Socket
  /** All that was received and not yet taken by `response()`. */
  received = ''
  /** What became of the connection. */
  ended = false
  error: NodeJS.ErrnoException | undefined = undefined
  readonly #closed: Promise<void>
  #wake: () => void = () => {}

  constructor(wire: net.Socket, socket: net.Socket, paused: boolean) {
    this.wire = wire
    this.socket = socket
    socket.setNoDelay()
    socket.setEncoding('latin1')
    if (!paused) this.resume()
    socket.on('end', () => this.#note(() => (this.ended = true)))
    socket.on('error', (error) => this.#note(() => (this.error = error)))
    this.#closed = new Promise((resolve) => socket.on('close', () => this.#note(resolve)))
  }

  /** Connects to a port of 127.0.0.1, or to a Unix socket. */
  static async connect(to: number | string, options: RawClientOptions = {}): Promise<RawClient> {
    const wire = connectionTo(to, options)
    const socket = options.tls ? secured(wire, options.tls) : wire
    const connected = once(socket, options.tls ? 'secureConnect' : 'connect')
    await within(5_000, connected, 'the connection')
    return new RawClient(wire, socket, options.paused ?? false)
  }

  resume(): void {
    this.socket.on('data', (chunk: string) => this.#note(() => (this.received += chunk)))
  }

  /** Sends text as it is. */
  send(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** Sends a request with a `Host`, and a body when there is one. */
  request(line: string, body = ''): this {
    const length = body ? `Content-Length: ${body.length}\r\n` : ''
    return this.send(`${line} HTTP/1.1\r\nHost: test\r\n${length}\r\n${body}`)
  }

  /** The next response, whole. */
  async response(): Promise<RawResponse> {
    let parsed = parse(this.received)
    while (!parsed) {
      if (this.ended || this.error) throw new Error(`No response: ${this.#end()}`)
      await this.#change()
      parsed = parse(this.received)
    }
    this.received = this.received.slice(parsed.size)
    return parsed
  }

  /** Waits until so much has been received that `text` is in it. */
  async sees(text: string): Promise<void> {
    await this.until(() => this.received.includes(text))
  }

  /** Waits until something is so, and looks again whenever something comes. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await this.#change()
  }

  /** Resolves when the connection is closed on both sides. */
  get closed(): Promise<void> {
    return within(8_000, this.#closed, 'the connection to be closed')
  }

  /** Waits for the server's FIN; rejects when the connection was reset instead. */
  async fin(): Promise<void> {
    while (!this.ended) {
      if (this.error) throw this.error
      await this.#change()
    }
  }

  destroy(): void {
    this.socket.destroy()
  }

  reset(): void {
    this.wire.resetAndDestroy()
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  #end(): string {
    return this.error
      ? String(this.error.code)
      : `the server ended after ${JSON.stringify(this.received)}`
  }

  #note(change: () => void): void {
    change()
    this.#wake()
  }

  async #change(): Promise<void> {
    const change = new Promise<void>((resolve) => (this.#wake = resolve))
    await within(
      8_000,
      change,
      `the server; so far: ${JSON.stringify(this.received.slice(0, 200))}`,
    )
  }
}

function connectionTo(to: number | string, { holdOpen }: RawClientOptions): net.Socket {
  const allowHalfOpen = holdOpen ?? false
  return typeof to === 'string'
    ? net.connect({ path: to, allowHalfOpen })
    : net.connect({ port: to, host: '127.0.0.1', allowHalfOpen })
}

function secured(wire: net.Socket, offered: true | string[]): tls.TLSSocket {
  const ALPNProtocols = offered === true ? [] : offered
  return tls.connect({ socket: wire, ALPNProtocols, rejectUnauthorized: false })
}

function parse(text: string): (RawResponse & { size: number }) | undefined {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const [first, ...lines] = text.slice(0, end).split('\r\n')
  const headers = Object.fromEntries(lines.map(splitLine))
  const body = bodyOf(text.slice(end + 4), headers)
  if (!body) return undefined
  return { status: Number(first!.split(' ')[1]), headers, ...body, size: end + 4 + body.size }
}

function splitLine(line: string): [string, string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
}

function bodyOf(
  rest: string,
  headers: Record<string, string>,
): { body: string; size: number } | undefined {
  if (headers['transfer-encoding'] === 'chunked') return chunksOf(rest)
  const size = Number(headers['content-length'] ?? 0)
  return rest.length < size ? undefined : { body: rest.slice(0, size), size }
}

function chunksOf(rest: string): { body: string; size: number } | undefined {
  let body = ''
  for (let at = 0; ;) {
    const line = rest.indexOf('\r\n', at)
    if (line < 0) return undefined
    const size = Number.parseInt(rest.slice(at, line), 16)
    const next = line + 2 + size + 2
    if (rest.length < next) return undefined
    if (size === 0) return { body, size: next }
    body += rest.slice(line + 2, line + 2 + size)
    at = next
  }
}

import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { clearHeaders, setHeaders } from './head.ts'
import { streamOf } from './http2.ts'

/** A response that is kept back until what it depends on has succeeded. */
export interface Held {
  /** Has the handler ended the response? */
  readonly ended: boolean
  /** Called when it does. */
  whenEnded: (() => void) | undefined
  /** The status that the handler chose; `undefined` while it has neither written a head nor ended the response. */
  status(): number | undefined
  /** The handler has returned: what comes from now on, from whoever it left at work, waits for `release` and is not refused. */
  returned(): void
  /** Hands what was held to the real response, which from now on works as if it had never been held. */
  release(): void
  /** Forgets what was held, headers and status too, so that another answer can be sent instead. */
  discard(): void
}

/** The largest body that is held by default: 1 MiB. */
const HOLD_LIMIT = 1_048_576

const HELD = Symbol('steward.held')

interface Carrier {
  [HELD]?: Hold | undefined
}

type Method = (...args: unknown[]) => unknown
type Methods = Record<string, Method>

/**
 * Keeps a response back: heads and headers are written as usual, a body that is ended in one piece (up to `limit` bytes)
 * is kept, and nothing leaves until `release`. A first `write()`, `flushHeaders()` or `pipe()`, and a body over the limit,
 * throw what `streams` makes. Ends with `release` or `discard`, of which the first counts.
 *
 * ```
 * holding ── returned ──▶ waiting ── release, discard ──▶ let go
 *    └─────────────── release, discard ──────────────────────┘
 * ```
 */
export function holdResponse(
  response: ServerResponse,
  streams: () => Error,
  limit: number = HOLD_LIMIT,
): Held {
  const hold = new Hold(response, streams, limit)
  ;(response as Carrier)[HELD] = hold
  return hold
}

/** Forgets what is held of a response, if it is held: somebody else answers. */
export function dropHold(response: ServerResponse): void {
  ;(response as Carrier)[HELD]?.discard()
}

class Hold implements Held {
  whenEnded: (() => void) | undefined
  readonly #response: ServerResponse
  readonly #streams: () => Error
  readonly #limit: number
  /** Takes what was put on the response off again. */
  readonly #restores: (() => void)[] = []
  readonly #inner: Methods = {}
  /** The response's head before: what `discard` goes back to. */
  readonly #head: { status: number; message: string | undefined; headers: OutgoingHttpHeaders }
  #state: 'holding' | 'waiting' | 'let go' = 'holding'
  #headWritten = false
  #end: unknown[] | undefined = undefined
  /** Calls that came while it waited, in order. */
  readonly #waiting: [name: string, args: unknown[]][] = []
  readonly #sources: Readable[] = []
  readonly #onPipe = (source: Readable): void => {
    if (this.#state === 'waiting') return void this.#sources.push(source)
    // Or it would write, and throw where nobody can catch it
    source.unpipe(this.#response)
    throw this.#streams()
  }

  constructor(response: ServerResponse, streams: () => Error, limit: number) {
    this.#response = response
    this.#streams = streams
    this.#limit = limit
    this.#head = headOf(response)
    this.#replace()
    response.on('pipe', this.#onPipe)
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  status(): number | undefined {
    return this.#headWritten || this.ended ? this.#response.statusCode : undefined
  }

  returned(): void {
    if (this.#state === 'holding') this.#state = 'waiting'
  }

  release(): void {
    if (this.#state === 'let go') return
    const response = this.#response
    this.#letGo()
    if (this.#end) this.#inner.end!.apply(response, this.#end)
    else if (this.#headWritten) response.writeHead(response.statusCode)
    for (const [name, args] of this.#waiting) this.#inner[name]!.apply(response, args)
    // Who was told to wait by write() waits for this
    if (this.#waiting.length > 0 && !response.writableNeedDrain) response.emit('drain')
  }

  discard(): void {
    if (this.#state === 'let go') return
    this.#letGo()
    for (const source of this.#sources) source.unpipe(this.#response).destroy()
    if (this.#response.headersSent) return
    const { status, message, headers } = this.#head
    clearHeaders(this.#response)
    setHeaders(this.#response, headers)
    this.#response.statusCode = status
    if (message !== undefined) this.#response.statusMessage = message
  }

  /** A wrapper that came on top of ours stays, and reaches the real one through ours. */
  #method(name: string, held: Method): void {
    const inner = (this.#response as unknown as Methods)[name]!
    this.#inner[name] = inner
    const value = (...args: unknown[]): unknown => {
      if (this.#state === 'let go') return inner.apply(this.#response, args)
      if (this.#state === 'holding' || name === 'writeHead') return held(...args)
      return this.#wait(name, args)
    }
    this.#put(name, { value, configurable: true, writable: true })
  }

  #wait(name: string, args: unknown[]): unknown {
    if (!this.ended) this.#waiting.push([name, args])
    return name === 'write' ? false : this.#response
  }

  #replace(): void {
    this.#method('write', () => this.#refuse())
    this.#method('flushHeaders', () => this.#refuse())
    this.#method('end', (...args) => this.#keepEnd(args))
    this.#method('writeHead', (status, ...rest) => this.#keepHead(status as number, rest))
    this.#getter('headersSent', () => this.#headWritten || this.ended)
    this.#getter('writableEnded', () => this.ended)
  }

  #getter(name: string, get: () => boolean): void {
    this.#put(name, { get, configurable: true })
  }

  #put(name: string, descriptor: PropertyDescriptor): void {
    this.#restores.push(replace(this.#response, name, descriptor))
  }

  #refuse(): never {
    throw this.#streams()
  }

  #keepEnd(args: unknown[]): ServerResponse {
    if (this.#end) return this.#response
    const [chunk] = args
    if (!isBody(chunk)) {
      throw new TypeError(
        `Cannot end the response with ${typeof chunk} as its body: give a string or bytes`,
      )
    }
    if (sizeOf(args) > this.#limit) this.#refuse()
    this.#end = args.filter((arg) => typeof arg !== 'function')
    // Who waits for it inside the handler would wait for itself: it is called when the body has been taken
    const callback = args.findLast((arg) => typeof arg === 'function')
    if (callback) process.nextTick(callback)
    this.whenEnded?.()
    return this.#response
  }

  #keepHead(status: number, [reason, headers]: unknown[]): ServerResponse {
    if (this.#headWritten || this.ended) throw headSent()
    if (!(status >= 100 && status <= 999)) {
      throw new RangeError(`Invalid status code: ${String(status)}`)
    }
    this.#response.statusCode = Math.trunc(status)
    if (typeof reason === 'string' && !streamOf(this.#response)) {
      this.#response.statusMessage = reason
    }
    setHeaders(this.#response, typeof reason === 'string' ? headers : (headers ?? reason))
    this.#headWritten = true
    return this.#response
  }

  #letGo(): void {
    this.#state = 'let go'
    ;(this.#response as Carrier)[HELD] = undefined
    this.#response.off('pipe', this.#onPipe)
    for (const restore of this.#restores) restore()
  }
}

function headOf(response: ServerResponse): {
  status: number
  message: string | undefined
  headers: OutgoingHttpHeaders
} {
  return {
    status: response.statusCode,
    // HTTP/2 has none, and Node warns when it is asked for it
    message: streamOf(response) ? undefined : response.statusMessage,
    headers: response.getHeaders(),
  }
}

/** Puts a property on the response; the returned function takes it off, unless something else has come on top of it. */
function replace(
  response: ServerResponse,
  name: string,
  descriptor: PropertyDescriptor,
): () => void {
  const before = Object.getOwnPropertyDescriptor(response, name)
  Object.defineProperty(response, name, descriptor)
  return () => {
    const now = Object.getOwnPropertyDescriptor(response, name)
    if (now?.value !== descriptor.value || now?.get !== descriptor.get) return
    if (before) Object.defineProperty(response, name, before)
    else delete (response as unknown as Record<string, unknown>)[name]
  }
}

function sizeOf([body, encoding]: unknown[]): number {
  if (typeof body === 'string') {
    return Buffer.byteLength(body, encoding as BufferEncoding | undefined)
  }
  return body instanceof Uint8Array ? body.byteLength : 0
}

function headSent(): Error {
  return Object.assign(new Error('Cannot write headers after they are sent to the client'), {
    code: 'ERR_HTTP_HEADERS_SENT',
  })
}

function isBody(chunk: unknown): boolean {
  const isNone = chunk === undefined || chunk === null || typeof chunk === 'function'
  return isNone || typeof chunk === 'string' || chunk instanceof Uint8Array
}

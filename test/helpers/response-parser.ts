/** A response as it came over the wire, whole. */
export interface Answer {
  readonly status: number
  /** By name in lower case; several of one name are joined with a comma. */
  readonly headers: Record<string, string>
  readonly body: Buffer
  /** The interim responses that came before it. */
  readonly interim: readonly number[]
  /** May another request follow on its connection? */
  readonly keepsAlive: boolean
}

/** What was asked, as far as it decides how the answer ends. */
export interface Question {
  /** @default 'GET' */
  readonly method?: string
  /** @default '1.1' */
  readonly version?: '1.0' | '1.1'
}

/** What no server may send. */
export class MalformedResponse extends Error {}

/** How the rest of a body is known. */
type Framing =
  | { is: 'length'; left: number }
  | { is: 'chunk size' }
  | { is: 'chunk'; left: number }
  | { is: 'chunk end' }
  | { is: 'trailers' }
  | { is: 'close' }

/**
 * Reads one response, strictly (RFC 9112): what a lenient client would guess at is refused.
 *
 * ```
 *  head ── 1xx ──▶ head
 *    │ ── no body ───────────────────────────────▶ whole
 *    └──▶ length / chunk size ⇄ chunk / close ──▶ whole
 * ```
 */
export class ResponseParser {
  readonly #question: Required<Question>
  readonly #interim: number[] = []
  readonly #body: Buffer[] = []
  #rest: Buffer = Buffer.alloc(0)
  #head: { status: number; headers: Record<string, string>; keepsAlive: boolean } | undefined
  #framing: Framing | undefined
  #answer: Answer | undefined

  constructor({ method = 'GET', version = '1.1' }: Question = {}) {
    this.#question = { method, version }
  }

  /** The response, once it is whole. */
  get answer(): Answer | undefined {
    return this.#answer
  }

  /** The interim responses so far. */
  get interim(): readonly number[] {
    return this.#interim
  }

  /** Has anything of the final response arrived? */
  get begun(): boolean {
    return this.#head !== undefined || this.#rest.length > 0
  }

  /** What it knows, in words. */
  get progress(): string {
    if (!this.#head) return `${this.#rest.length} bytes of a head`
    return `status ${this.#head.status}, ${Buffer.concat(this.#body).length} bytes of its body`
  }

  /** Takes what has arrived; what lies behind the response is given back. @throws MalformedResponse */
  feed(bytes: Buffer): Buffer {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    while (!this.#answer && this.#step());
    if (!this.#answer) return Buffer.alloc(0)
    const behind = this.#rest
    this.#rest = Buffer.alloc(0)
    return behind
  }

  /** The server has ended the connection: that is how some bodies end. */
  end(): Answer | undefined {
    if (this.#framing?.is === 'close') this.#finish()
    return this.#answer
  }

  /** One step; `false` when it needs more bytes. */
  #step(): boolean {
    switch (this.#framing?.is) {
      case undefined:
        return this.#readHead()
      case 'length':
      case 'chunk':
        return this.#readBytes(this.#framing)
      case 'close':
        return this.#readAll()
      case 'chunk size':
        return this.#readChunkSize()
      case 'chunk end':
        return this.#readChunkEnd()
      case 'trailers':
        return this.#readTrailer()
    }
  }

  #line(): string | undefined {
    const end = this.#rest.indexOf('\r\n')
    if (end < 0) {
      if (this.#rest.length > 65_536) throw new MalformedResponse('a line without an end')
      return undefined
    }
    const line = this.#rest.toString('latin1', 0, end)
    this.#rest = this.#rest.subarray(end + 2)
    return line
  }

  #readHead(): boolean {
    const end = this.#rest.indexOf('\r\n\r\n')
    checkStart(this.#rest)
    if (end < 0) return false
    const [first, ...lines] = this.#rest.toString('latin1', 0, end).split('\r\n')
    this.#rest = this.#rest.subarray(end + 4)
    const status = statusOf(first!)
    const headers = headersOf(lines)
    if (status >= 100 && status < 200) this.#readInterim(status)
    else this.#begin(status, headers)
    return true
  }

  #readInterim(status: number): void {
    if (status === 101) throw new MalformedResponse('101 without an upgrade')
    if (this.#question.version === '1.0') throw new MalformedResponse(`${status} to HTTP/1.0`)
    this.#interim.push(status)
  }

  #begin(status: number, headers: Record<string, string>): void {
    const framing = framingOf(status, headers, this.#question)
    const keepsAlive = framing?.is !== 'close' && saysKeepAlive(headers, this.#question)
    this.#head = { status, headers, keepsAlive }
    this.#framing = framing
    if (!framing || (framing.is === 'length' && framing.left === 0)) this.#finish()
  }

  #readBytes(framing: { is: 'length' | 'chunk'; left: number }): boolean {
    if (this.#rest.length === 0) return false
    const taken = this.#take(framing.left)
    framing.left -= taken
    if (framing.left > 0) return false
    if (framing.is === 'chunk') this.#framing = { is: 'chunk end' }
    else this.#finish()
    return true
  }

  #readAll(): boolean {
    this.#take(this.#rest.length)
    return false
  }

  #take(most: number): number {
    const part = this.#rest.subarray(0, most)
    this.#body.push(part)
    this.#rest = this.#rest.subarray(part.length)
    return part.length
  }

  #readChunkSize(): boolean {
    const line = this.#line()
    if (line === undefined) return false
    if (!/^[0-9a-f]{1,8}$/i.test(line)) throw new MalformedResponse(`chunk size ${show(line)}`)
    const left = Number.parseInt(line, 16)
    this.#framing = left === 0 ? { is: 'trailers' } : { is: 'chunk', left }
    return true
  }

  #readChunkEnd(): boolean {
    const line = this.#line()
    if (line === undefined) return false
    if (line !== '') throw new MalformedResponse(`${show(line)} behind a chunk`)
    this.#framing = { is: 'chunk size' }
    return true
  }

  #readTrailer(): boolean {
    const line = this.#line()
    if (line === undefined) return false
    if (line === '') this.#finish()
    else headersOf([line])
    return true
  }

  #finish(): void {
    this.#answer = { ...this.#head!, body: Buffer.concat(this.#body), interim: this.#interim }
  }
}

/** Refuses at the first wrong byte, so that nothing is waited for. */
function checkStart(bytes: Buffer): void {
  const start = bytes.toString('latin1', 0, 9)
  if ('HTTP/1.1 '.startsWith(start)) return
  throw new MalformedResponse(`a head that begins ${show(start)}`)
}

function statusOf(line: string): number {
  const [, status] = /^HTTP\/1\.1 ([1-5]\d\d) [\t\x20-\x7e]*$/.exec(line) ?? []
  if (status === undefined) throw new MalformedResponse(`status line ${show(line)}`)
  return Number(status)
}

function headersOf(lines: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [, name, value] =
      /^([!#$%&'*+.^_`|~\w-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/.exec(line) ?? []
    if (name === undefined) throw new MalformedResponse(`header ${show(line)}`)
    const key = name.toLowerCase()
    const before = headers[key]
    if (before !== undefined && SINGLE.has(key)) throw new MalformedResponse(`two ${name}`)
    headers[key] = before === undefined ? value!.trimEnd() : `${before}, ${value!.trimEnd()}`
  }
  return headers
}

/** What may stand in a head only once. */
const SINGLE = new Set(['content-length', 'transfer-encoding', 'connection', 'date', 'keep-alive'])

/** How the body ends; `undefined`: there is none. */
function framingOf(
  status: number,
  headers: Record<string, string>,
  { method, version }: Required<Question>,
): Framing | undefined {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers
  if (encoding !== undefined && encoding !== 'chunked') {
    throw new MalformedResponse(`Transfer-Encoding ${encoding}`)
  }
  if (encoding && length !== undefined) throw new MalformedResponse('chunked, and with a length')
  if (encoding && version === '1.0') throw new MalformedResponse('chunked to HTTP/1.0')
  if (length !== undefined && !/^\d+$/.test(length)) throw new MalformedResponse(`length ${length}`)
  if (status === 204 && (encoding ?? length) !== undefined) {
    throw new MalformedResponse('204 with a body')
  }
  if (method === 'HEAD' || status === 204 || status === 304) return undefined
  if (encoding) return { is: 'chunk size' }
  return length === undefined ? { is: 'close' } : { is: 'length', left: Number(length) }
}

function saysKeepAlive(
  { connection = '' }: Record<string, string>,
  { version }: Question,
): boolean {
  const options = connection.toLowerCase().split(/ *, */)
  return version === '1.0' ? options.includes('keep-alive') : !options.includes('close')
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 100))
}

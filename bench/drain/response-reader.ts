/** A response that has come in whole. */
export interface Response {
  readonly status: number
  /** Has the server said that it is the last one of the connection? */
  readonly saysClose: boolean
}

type State =
  | { is: 'head'; text: Buffer }
  | { is: 'body'; left: number; response: Response }
  | { is: 'chunk size'; text: string; response: Response }
  | { is: 'chunk'; left: number; response: Response }
  | { is: 'trailer'; text: string; response: Response }

/**
 * Cuts what comes in on a connection into responses, and keeps no bodies.
 *
 * ```
 *  head ──▶ body ────────────────────────────▶ head
 *    └────▶ chunk size ⇄ chunk   └─▶ trailer ───▲
 * ```
 */
export class ResponseReader {
  readonly #whole: (response: Response) => void
  #state: State = { is: 'head', text: Buffer.alloc(0) }

  constructor(whole: (response: Response) => void) {
    this.#whole = whole
  }

  /** Has a part of a response come in, and not all of it? */
  get isWithin(): boolean {
    return this.#state.is !== 'head' || this.#state.text.length > 0
  }

  /** The response whose body is coming in; its head has been read. */
  get current(): Response | undefined {
    return this.#state.is === 'head' ? undefined : this.#state.response
  }

  read(bytes: Buffer): void {
    for (let rest = bytes; rest.length > 0;) rest = this.#take(rest)
  }

  #take(bytes: Buffer): Buffer {
    const state = this.#state
    if (state.is === 'head') return this.#takeHead(Buffer.concat([state.text, bytes]))
    if (state.is === 'body' || state.is === 'chunk') return this.#takeBody(state, bytes)
    return this.#takeLine(state, bytes)
  }

  #takeHead(text: Buffer): Buffer {
    const end = text.indexOf('\r\n\r\n')
    if (end < 0) {
      this.#state = { is: 'head', text }
      return Buffer.alloc(0)
    }
    const head = text.toString('latin1', 0, end).toLowerCase()
    const response = {
      status: Number(head.split(' ', 2)[1]),
      saysClose: /^connection: *close/m.test(head),
    }
    if (/^transfer-encoding: *chunked/m.test(head)) {
      this.#state = { is: 'chunk size', text: '', response }
    } else {
      this.#expect(Number(/^content-length: *(\d+)/m.exec(head)?.[1] ?? 0), response)
    }
    return text.subarray(end + 4)
  }

  #expect(left: number, response: Response): void {
    if (left > 0) this.#state = { is: 'body', left, response }
    else this.#end(response)
  }

  #takeBody(state: State & { is: 'body' | 'chunk' }, bytes: Buffer): Buffer {
    const left = state.left - bytes.length
    if (left > 0) this.#state = { ...state, left }
    else if (state.is === 'chunk') this.#state = { ...state, is: 'chunk size', text: '' }
    else this.#end(state.response)
    return bytes.subarray(state.left)
  }

  #takeLine(state: State & { is: 'chunk size' | 'trailer' }, bytes: Buffer): Buffer {
    const end = bytes.indexOf('\n')
    const text = state.text + bytes.toString('latin1', 0, end < 0 ? bytes.length : end + 1)
    if (end < 0) this.#state = { ...state, text }
    else this.#lineEnds(state, text.trim())
    return end < 0 ? Buffer.alloc(0) : bytes.subarray(end + 1)
  }

  #lineEnds({ is, response }: State & { is: 'chunk size' | 'trailer' }, line: string): void {
    if (is === 'trailer') {
      if (line === '') this.#end(response)
      else this.#state = { is, text: '', response }
      return
    }
    const size = Number.parseInt(line, 16)
    // A chunk ends with a line break of its own
    if (size > 0) this.#state = { is: 'chunk', left: size + 2, response }
    else this.#state = { is: 'trailer', text: '', response }
  }

  #end(response: Response): void {
    this.#state = { is: 'head', text: Buffer.alloc(0) }
    this.#whole(response)
  }
}

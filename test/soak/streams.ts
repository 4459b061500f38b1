import { once } from 'node:events'
import http2, {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from 'node:http2'
import { pause } from '../helpers/pause.ts'
import type { Random } from '../helpers/random.ts'
import type { Asked, Asking, Fate } from '../helpers/strict-client.ts'
import { within } from '../helpers/within.ts'
import { answerTo, type Wish } from './answers.ts'
import type { Visit, Witness } from './ledger.ts'
import { PATIENCE, randomRequest, type Caller, type Request } from './requests.ts'
import { connectEncrypted } from './wire.ts'

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants

/** One connection of HTTP/2, from its beginning to its end. */
export async function visitByHttp2({ random, load, nextId }: Caller): Promise<void> {
  const { port, ledger, way } = load
  const behaviour = random.pick(NAMES)
  const session = way.tls ? connectEncrypted(port) : http2.connect(`http://127.0.0.1:${port}`)
  const at = performance.now()
  try {
    await within(PATIENCE, once(session, 'connect'), 'the connection')
  } catch (error) {
    return ledger.refused(`HTTP/2, ${behaviour}`, { error, at, until: performance.now() })
  }
  const visit: Visit = {
    behaviour: `HTTP/2, ${behaviour}`,
    client: new Streams(session),
    wishes: new Map(),
  }
  const call = new Call(visit, random, nextId)
  try {
    await BEHAVIOURS[behaviour](call)
  } finally {
    await call.end()
    ledger.add(visit)
  }
}

/** A session that counts what it asks: every stream is there by its fate. */
class Streams implements Witness {
  readonly session: ClientHttp2Session
  readonly asked: Asked[] = []
  readonly trace: string[] = []
  extra = ''
  readonly isHalfClosed = false
  readonly closed: Promise<unknown>
  readonly #began = performance.now()
  #quietSince = performance.now()
  #open = 0
  /** Has the client ended it, whatever was under way? */
  hasLeft = false

  constructor(session: ClientHttp2Session) {
    this.session = session
    this.closed = new Promise((resolve) => session.once('close', resolve))
    session.on('goaway', (code, last) => this.tell(`< GOAWAY ${code}, the last is ${last}`))
    session.on('error', (error) => this.tell(`! ${error.message}`))
    session.on('close', () => this.tell('closed'))
  }

  /** May another stream be opened? Not after GOAWAY. */
  get isOpen(): boolean {
    return !this.session.closed && !this.session.destroyed
  }

  /** Opens a stream, and leaves its body to be written. */
  open(request: Request): Stream {
    const idle = this.#open === 0 ? performance.now() - this.#quietSince : 0
    const stream = new Stream(request, { streams: this, idle })
    this.#open++
    this.asked.push(stream.asked)
    return stream
  }

  /** Goes, whatever is under way. */
  leave(): void {
    this.hasLeft = true
    this.tell('> leaves')
    this.session.destroy(undefined, NGHTTP2_NO_ERROR)
  }

  /** A stream has closed: what is its fate, when nothing of it came? */
  over(): Fate {
    this.#open--
    this.#quietSince = performance.now()
    return this.hasLeft ? 'left' : 'reset'
  }

  tell(what: string): void {
    this.trace.push(`${(performance.now() - this.#began).toFixed(1)} ms ${what}`)
  }
}

/** One request, and its answer as far as it has come. */
class Stream {
  readonly asked: Asked
  readonly #stream: ClientHttp2Stream
  readonly #streams: Streams
  readonly #body: Buffer[] = []
  readonly #settled: PromiseWithResolvers<void> = Promise.withResolvers()
  /** How long its answer is to be: of the head, or of the service's own. */
  #length: number
  #status = 0
  #interim: number[] = []
  #wake: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor([asking, wish]: Request, { streams, idle }: { streams: Streams; idle: number }) {
    const { method = 'GET', target, headers, body } = asking
    this.#streams = streams
    const read = (wish.reads === 'all' && body) || Buffer.alloc(0)
    this.#length = method === 'HEAD' ? 0 : answerTo(wish, read).length
    const stream = streams.session.request(
      { ':method': method, ':path': target, ...headers },
      { endStream: body === undefined },
    )
    this.#stream = stream
    this.asked = {
      asking,
      at: performance.now(),
      idle,
      written: body === undefined ? 'all' : 'a part',
      fate: undefined,
      until: Infinity,
      answer: undefined,
      interim: this.#interim,
    }
    stream.on('continue', () => this.#note(() => this.#interim.push(100)))
    stream.on('response', (head) => this.#note(() => this.#begin(head)))
    stream.on('data', (part: Buffer) => this.#body.push(part))
    stream.on('end', () => this.#note(() => this.#end()))
    stream.on('error', () => {})
    stream.on('close', () => this.#note(() => this.#close()))
  }

  /** Writes the whole body, in so many pieces with pauses of at most so many milliseconds; stops when the answer has come first. */
  async write(pieces: number, rest: () => Promise<void>): Promise<void> {
    const { body } = this.asked.asking
    if (!body) return
    const size = Math.max(1, Math.ceil(body.length / pieces))
    let at = 0
    for (; at + size < body.length; at += size) {
      if (!this.#isWritable) return
      this.#stream.write(body.subarray(at, at + size))
      await rest()
    }
    if (!this.#isWritable) return
    this.asked.written = 'all'
    this.#stream.end(body.subarray(at))
  }

  get #isWritable(): boolean {
    return this.asked.fate === undefined && this.#stream.writable
  }

  /** Resets it, whatever has come of it. */
  reset(code: number): void {
    if (this.asked.fate !== undefined) return
    this.#settle('left')
    this.#stream.close(code)
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  /** Waits for its fate; it is `unanswered` when the client has waited long enough. */
  async over(): Promise<void> {
    await within(PATIENCE, this.#settled.promise, 'the end').catch(() => this.#settle('unanswered'))
  }

  /** Waits until the server wants the body, or has answered without it. */
  async continued(): Promise<boolean> {
    const until = performance.now() + PATIENCE
    while (!this.#interim.includes(100) && this.#status === 0 && this.asked.fate === undefined) {
      const left = until - performance.now()
      if (left <= 0) return false
      await within(left, this.#wake.promise, 'an answer').catch(() => {})
    }
    return this.#interim.includes(100)
  }

  #begin(head: IncomingHttpHeaders): void {
    this.#status = Number(head[':status'])
    const length = head['content-length']
    if (length !== undefined && this.asked.asking.method !== 'HEAD') this.#length = Number(length)
  }

  /** Has all of it come, though we have not read it? Node's client drops that when its session ends. */
  get #isHere(): boolean {
    const read = this.#body.reduce((sum, part) => sum + part.length, 0)
    return this.#status > 0 && read + this.#stream.readableLength >= this.#length
  }

  /** Node ends the reading side of what was cut, too; and may never close one whose body it still has to send. */
  #end(): void {
    const isCut = this.#stream.rstCode !== NGHTTP2_NO_ERROR
    if (this.asked.fate !== undefined || isCut) return
    // What we end ourselves ends as if the server had ended it
    if (this.#streams.hasLeft) this.#settle('left')
    else if (this.#isHere) this.#answered()
  }

  #close(): void {
    const nothing = this.#streams.over()
    const { rstCode, id } = this.#stream
    this.#streams.tell(
      `${this.asked.asking.target}: stream ${id} closed with ${rstCode} after ${this.#status}`,
    )
    if (this.asked.fate !== undefined) return
    if (nothing === 'left') this.#settle('left')
    else if (this.#isHere && rstCode === NGHTTP2_NO_ERROR) this.#settle('left')
    else if (rstCode === NGHTTP2_REFUSED_STREAM) this.#settle('behind a close')
    else this.#settle(this.#status > 0 ? 'truncated' : nothing)
  }

  #answered(): void {
    const { asked } = this
    const body = Buffer.concat(this.#body)
    const headers = {}
    asked.answer = { status: this.#status, headers, body, interim: this.#interim, keepsAlive: true }
    this.#settle('answered')
  }

  #settle(fate: Fate): void {
    this.asked.fate ??= fate
    this.asked.until = performance.now()
    this.#settled.resolve()
  }

  #note(change: () => void): void {
    change()
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }
}

/** One connection, and the dice of its client. */
class Call {
  readonly streams: Streams
  readonly random: Random
  readonly #visit: Visit
  readonly #nextId: () => string

  constructor(visit: Visit, random: Random, nextId: () => string) {
    this.streams = visit.client as Streams
    this.random = random
    this.#visit = visit
    this.#nextId = nextId
  }

  /** Opens a stream with a request as random as they come, but for what is given; its body is not written yet. */
  open(given: Partial<Asking> = {}, wishes: Partial<Wish> = {}): Stream {
    const request = randomRequest(this.random, given, { id: this.#nextId(), ...wishes })
    const stream = this.streams.open(request)
    this.#visit.wishes.set(stream.asked, request[1])
    return stream
  }

  /** The same, with its body. */
  ask(given: Partial<Asking> = {}, wishes: Partial<Wish> = {}): Stream {
    const stream = this.open(given, wishes)
    void stream.write(1, () => this.rest(0))
    return stream
  }

  rest(most: number): Promise<void> {
    return pause(this.random.int(0, most))
  }

  /** Ends the session, in order or not. */
  async end(): Promise<void> {
    const { session } = this.streams
    if (this.random.chance(0.5)) session.close()
    else this.streams.leave()
    // Node's client keeps a session as long as a body of its own is not whole
    await within(1_000, this.streams.closed, 'the end of the session').catch(() =>
      session.destroy(),
    )
  }
}

type Behaviour = (call: Call) => Promise<void>

const BEHAVIOURS = {
  async 'one by one'(call) {
    for (let left = call.random.int(1, 12); left > 0 && call.streams.isOpen; left--) {
      await call.ask().over()
      await call.rest(150)
    }
  },

  async 'many at once'(call) {
    for (let rounds = call.random.int(1, 3); rounds > 0 && call.streams.isOpen; rounds--) {
      const streams = Array.from({ length: call.random.int(2, 30) }, () => call.ask())
      for (const stream of streams) await stream.over()
      await call.rest(100)
    }
  },

  async overlapping(call) {
    const streams: Stream[] = []
    for (let left = call.random.int(5, 30); left > 0 && call.streams.isOpen; left--) {
      streams.push(call.ask())
      await call.rest(60)
    }
    for (const stream of streams) await stream.over()
  },

  async 'silent at first'(call) {
    await call.rest(800)
    if (call.streams.isOpen) await call.ask().over()
  },

  async 'slow writer'(call) {
    const { random } = call
    const bodies = Array.from({ length: random.int(1, 4) }, () => random.int(1, 200_000))
    await Promise.all(
      bodies.map(async (size) => {
        const stream = call.open({ method: 'POST', body: Buffer.alloc(size, 'slow') })
        await stream.write(random.int(2, 12), () => call.rest(60))
        await stream.over()
      }),
    )
  },

  async 'expecting to continue'(call) {
    const body = Buffer.alloc(call.random.int(1, 20_000), 'body')
    const stream = call.open({ method: 'POST', body, headers: { expect: '100-continue' } })
    if (await stream.continued()) await stream.write(call.random.int(1, 4), () => call.rest(60))
    else stream.reset(NGHTTP2_CANCEL)
    await stream.over()
  },

  async 'slow reader'(call) {
    const { random } = call
    const sizes = Array.from({ length: random.int(1, 3) }, () => random.int(100_000, 1_000_000))
    const streams = sizes.map((size) => call.ask({ method: 'GET' }, { size, commits: false }))
    for (const stream of streams) stream.pause()
    // The server reads on for two seconds behind its last byte, and the machine may be slow
    await call.rest(800)
    for (const stream of streams) stream.resume()
    for (const stream of streams) await stream.over()
  },

  async resetting(call) {
    const { random } = call
    const streams = Array.from({ length: random.int(2, 15) }, () =>
      random.chance(0.5)
        ? call.ask()
        : call.open({ method: 'POST', body: Buffer.alloc(3_000, 'never whole') }),
    )
    for (const stream of streams) {
      const isWhole = stream.asked.written === 'all'
      if (isWhole && random.chance(0.6)) continue
      await call.rest(60)
      stream.reset(random.pick([NGHTTP2_CANCEL, NGHTTP2_NO_ERROR]))
    }
    for (const stream of streams) await stream.over()
  },

  async destroying(call) {
    for (let left = call.random.int(0, 8); left > 0; left--) call.ask()
    await call.rest(300)
    call.streams.leave()
  },

  async idling(call) {
    await call.ask().over()
    await call.rest(3_000)
    if (call.streams.isOpen) await call.ask().over()
  },
} satisfies Record<string, Behaviour>

const NAMES = Object.keys(BEHAVIOURS) as (keyof typeof BEHAVIOURS)[]

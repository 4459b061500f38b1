import { OutgoingMessage, type IncomingMessage, type ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import type { Readable } from 'node:stream'
import type { StewardError } from '../base/errors.ts'
import { followBody } from './body.ts'
import type { Connection, Speaker } from './connections.ts'
import { isGone, reasonOf, type Interruption } from './interruption.ts'
import { breakRequest, endRequest, isAnswered, streamOf } from './http2.ts'

/** What came of an exchange. */
export interface Ended {
  /** Something was thrown: `error` is it. */
  failed: boolean
  /** What the handler threw; absent when nothing was. */
  error?: unknown
  /** The response's status; absent when no head was sent. */
  status?: number
}

/** Called once an exchange is over; a promise that it returns is waited for. */
export type WhenOver = (ended: Ended) => void | Promise<void>

/** How long the end of a stream is waited for before it is looked for again, in milliseconds. */
const MOMENT = 10

/**
 * Where an exchange is. The handler and the response end in any order; only when both have, it closes:
 *
 * ```
 *            handler settled               response closed
 *  running ───────────────────▶ answering ───────────────────▶ closing ──────▶ over
 *     │                                                           ▲   closers done
 *     └── response closed ────▶ finishing ── handler settled ─────┘
 * ```
 */
export type ExchangeState = 'running' | 'answering' | 'finishing' | 'closing' | 'over'

const EXCHANGE = Symbol('steward.exchange')

interface Carrier {
  [EXCHANGE]?: Exchange
}

/** The exchange that a request belongs to; `undefined` for a request that did not come through an `HttpServer`. */
export function exchangeOf(request: IncomingMessage): Exchange | undefined {
  // A property and not a WeakMap: this is looked up at least once per request
  return (request as Carrier)[EXCHANGE]
}

/**
 * One request and its response: from the request's head to the moment when the handler has settled, the response is over
 * and what was registered with `whenOver` has closed. Held by its connection until then.
 */
export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** When the request's head had arrived, on the world's clock; cut to whole milliseconds, which take no object of their own. */
  readonly since: number
  /** The connection that it came on; outlives it. */
  readonly connection: Connection
  /** How much had been sent on the connection before its response, in bytes. */
  readonly #sentBefore: number
  #state: ExchangeState = 'running'
  #cut = false
  #failure: { error: unknown } | undefined = undefined
  #interruption: Interruption | undefined = undefined
  /** Made when somebody asks for the signal. */
  #controller: AbortController | undefined = undefined
  /** What runs when it is over, last first; emptied while they run. */
  #closers: WhenOver[] | undefined = undefined
  /** The last error that was told of it; set by `tellFailed`. */
  told: { error: unknown } | undefined = undefined

  constructor(request: IncomingMessage, response: ServerResponse, connection: Connection) {
    this.request = request
    this.response = response
    this.connection = connection
    this.since = Math.trunc(connection.traffic.world.now())
    ;(request as Carrier)[EXCHANGE] = this
    const stream = connection.session && streamOf(response)
    this.#sentBefore = stream ? 0 : connection.socket.bytesWritten
    if (stream) this.#follow(stream)
    else response.emit = emitFollowed as ServerResponse['emit']
  }

  /** The response of a stream does not tell of every end: of HEAD only when it was written to its end. */
  #follow(stream: ServerHttp2Stream): void {
    ;(stream as Carrier)[EXCHANGE] = this
    stream.on('aborted', onStreamAborted).on('finish', onStreamFinished)
    stream.on('close', onStreamClosed)
    // A stream that was answered without the app has no response that listens
    if ('on' in this.response) this.response.on('pipe', (source) => followBody(this, source))
  }

  /**
   * Aborted when the client has gone before its response was over (reason: `ERR_CLIENT_GONE`), or when a stop's grace is
   * spent (`ERR_GRACE_SPENT`); aborted already when it is asked for after that. Never aborted by a normal end.
   */
  get signal(): AbortSignal {
    if (this.#controller) return this.#controller.signal
    this.#controller = new AbortController()
    if (this.#interruption) this.#controller.abort(reasonOf(this.name, this.#interruption))
    return this.#controller.signal
  }

  /** Where it is. */
  get state(): ExchangeState {
    return this.#state
  }

  /** Does the connection have to stay for it: is its handler out, or its response open? */
  get busy(): boolean {
    return this.#state !== 'closing' && this.#state !== 'over'
  }

  /** Is its response still open? */
  get unanswered(): boolean {
    return this.#state === 'running' || this.#state === 'answering'
  }

  /** What it is called where it is named: `GET /orders`. Without the query, which may carry secrets. */
  get name(): string {
    return `${this.request.method ?? ''} ${this.path}`
  }

  /** The request's target without its query, which may carry secrets. */
  get path(): string {
    const url = this.request.url ?? ''
    const query = url.indexOf('?')
    return query < 0 ? url : url.slice(0, query)
  }

  /**
   * How much of its response has been handed to the kernel, in bytes, its head included; of a pipelined one, with those before it.
   * `undefined` over HTTP/2, where Node does not tell, and for one that was sent before we were there.
   */
  get bytes(): number | undefined {
    const { session, socket, mayHaveMore } = this.connection
    if (session || mayHaveMore) return undefined
    return socket.bytesWritten - socket.writableLength - this.#sentBefore
  }

  /** Where it is for its client: still without the head of a response, or in the response. */
  get phase(): 'handler' | 'response' {
    return hasLeft(this.response) ? 'response' : 'handler'
  }

  /** Milliseconds since the request's head had arrived. */
  get age(): number {
    return this.connection.traffic.world.now() - this.since
  }

  /**
   * The drain waits for `work` too, until the grace is spent. Its rejection is told as an `error` event, never left
   * unhandled.
   */
  waitUntil(work: Promise<unknown>): void {
    this.connection.traffic.await(this, work)
  }

  /**
   * Calls `close` once, when the handler has settled and the response is over: finished, streamed to the end, or aborted.
   * The exchange stays under way until what it returns has settled. The last one registered runs first, one after the
   * other; one that throws is told as an `error` event and stops no other. Called at once when that moment has passed.
   */
  whenOver(close: WhenOver): void {
    if (this.#state === 'over') this.#closeLate(close)
    else if (this.#closers) this.#closers.push(close)
    else this.#closers = [close]
  }

  #closeLate(close: WhenOver): void {
    const closing = this.#runCloser(close)
    if (closing) this.waitUntil(closing.catch((error: unknown) => this.#tellCloseFailed(error)))
  }

  /** The handler threw, though its promise resolved: frameworks catch errors. The first error counts. */
  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  /**
   * Tells that the request failed, as `request.failed`: once for each error, however many hear of it, and not when the
   * error only says that its client has gone or its grace is spent. `path` leads to what failed.
   */
  tellFailed(error: unknown, path: readonly string[] = []): void {
    if (this.told && this.told.error === error) return
    if (this.isInterruption(error)) return
    this.told = { error }
    const method = this.request.method ?? ''
    this.connection.traffic.emit({ type: 'request.failed', method, url: this.path, path, error })
  }

  /** What came of it so far. */
  get ended(): Ended {
    const ended: Ended = { failed: this.#failure !== undefined }
    if (this.#failure) ended.error = this.#failure.error
    if (this.response.headersSent) ended.status = this.response.statusCode
    return ended
  }

  /** Aborts the signal, now or when it is asked for; the first reason stays. */
  interrupt(why: Interruption): void {
    if (this.#interruption) return
    this.#interruption = why
    this.#controller?.abort(reasonOf(this.name, why))
  }

  /** Is `error` what our own signal, or Node's streams, told the handler when its client left? */
  isInterruption(error: unknown): boolean {
    if (!this.#interruption) return false
    const { cause } = (error ?? {}) as { cause?: unknown }
    const reason = this.#controller?.signal.reason as unknown
    if (reason !== undefined && (error === reason || cause === reason)) return true
    return this.#interruption === 'gone' && isGone(error)
  }

  /** Who speaks in its response, or on its connection, and can end that when the service stops. */
  speaker: Speaker | undefined = undefined

  /** It was answered 503, as the stop was told to. Set by whoever did. */
  turnedAway = false

  /** What its answer stands for is being committed, or has been. Set by whoever commits. */
  committing = false

  /**
   * Must it keep its answer at T2? While what it stands for is committed and the head has not left: a client that is told
   * 503 would ask again.
   */
  get keepsAnswer(): boolean {
    return this.committing && this.phase === 'handler'
  }

  /** Has the head of its response left? A held response says so, though it has not. */
  get headSent(): boolean {
    return this.phase !== 'handler'
  }

  /** Was its response wholly handed to the kernel, and not in its handler's place? */
  get isWhole(): boolean {
    return this.#isSent && !this.#cut && !this.turnedAway
  }

  /** Why it was answered or cut in the handler's place, once it was: what the handler does then reaches nobody. */
  get refused(): StewardError | undefined {
    return this.#cut ? reasonOf(this.name, 'spent') : undefined
  }

  /** Counts it as cut, once; `true` the first time. It has not gone well then, whatever its handler comes to. */
  cut(): boolean {
    if (this.#cut) return false
    this.#cut = true
    this.fail(reasonOf(this.name, 'spent'))
    this.connection.traffic.served.cut++
    return true
  }

  /** The handler has returned, resolved or thrown. */
  handlerSettled(): void {
    if (this.#state === 'running') {
      this.#state = 'answering'
      if (this.connection.session) this.endRequest()
    } else if (this.#state === 'finishing') this.#close()
  }

  /** Its stream was reset, or has gone with its connection, before its response was over. */
  aborted(): void {
    this.interrupt('gone')
    breakRequest(this.request)
  }

  /** Over HTTP/2, an answer that is out ends its request, once nobody reads that any more. */
  endRequest(): void {
    const stream = streamOf(this.response)
    if (!stream || stream.destroyed || this.#state !== 'answering' || !isAnswered(stream)) return
    if (stream.endAfterHeaders || stream.readableEnded) return
    // Its end is written behind the last bytes, and a reset would overtake it
    if (stream.state.localClose) endRequest(stream)
    else this.connection.traffic.world.timer(MOMENT, () => this.endRequest(), 'idle')
  }

  /** The response is finished, or its connection is gone. */
  responseClosed(): void {
    if (this.connection.upgraded) this.interrupt('gone')
    else if (!this.#isSent) this.#interrupted()
    if (this.#state === 'running') this.#state = 'finishing'
    else if (this.#state === 'answering') this.#close()
  }

  get #isSent(): boolean {
    const { connection, response } = this
    const stream = connection.session && streamOf(response)
    return stream ? isAnswered(stream) : response.writableFinished
  }

  #interrupted(): void {
    const stream = streamOf(this.response)
    const errored = (stream ?? this.response).errored ?? null
    // Whoever wrote it gave it up with an error: a stream that broke, unless it is the client that broke it
    const isBroken = errored !== null && !isGone(errored)
    if (isBroken) {
      this.fail(errored)
      // What is written behind the end that a failure was given follows from that
      if (!this.told) this.tellFailed(errored)
    }
    // Node's client resets with NO_ERROR too, so that no code tells an app that gives a stream up without a reason
    const left = stream ? this.#failure === undefined : clientHasGone(this.connection)
    if (left && !isBroken && !this.#cut) this.connection.traffic.served.left++
    this.interrupt('gone')
  }

  #close(): void {
    this.#state = 'closing'
    this.connection.traffic.answered(this)
    if (this.#closers) this.#runClosers(this.#closers)
    else this.#end()
  }

  /** What is synchronous is over at once: a scope without asynchronous closes costs no turn of the microtask queue. */
  #runClosers(closers: WhenOver[]): void {
    for (let close = closers.pop(); close; close = closers.pop()) {
      const closing = this.#runCloser(close)
      if (closing) return void this.#continue(closing, closers)
    }
    this.#end()
  }

  #continue(closing: Promise<void>, closers: WhenOver[]): Promise<void> {
    return closing.then(
      () => this.#runClosers(closers),
      (error: unknown) => {
        this.#tellCloseFailed(error)
        this.#runClosers(closers)
      },
    )
  }

  /** Gives nothing when it was synchronous, well or not. */
  #runCloser(close: WhenOver): Promise<void> | undefined {
    try {
      return close(this.ended) ?? undefined
    } catch (error) {
      this.#tellCloseFailed(error)
      return undefined
    }
  }

  #tellCloseFailed(error: unknown): void {
    const message = `Closing after ${this.name} failed`
    this.connection.traffic.emit({ type: 'error', message, error })
  }

  #end(): void {
    this.#state = 'over'
    this.connection.forget(this)
  }
}

/** A FIN or an error came from there; otherwise the app or we ended it. */
function clientHasGone({ socket, raw }: Connection): boolean {
  return socket.readableEnded || socket.errored !== null || raw.errored !== null
}

function hasLeft(response: ServerResponse): boolean {
  const stream = streamOf(response)
  if (stream) return stream.headersSent
  return Reflect.get(OutgoingMessage.prototype, 'headersSent', response)
}

/**
 * What a response emits, in the place of a listener for `close`, which costs a request ten times as much. First: who listens for
 * it finds the signal aborted already.
 */
// oxlint-disable-next-line max-params -- as many as Node's events have, beside `this`
function emitFollowed(
  this: ServerResponse,
  event: string,
  first: unknown,
  second: unknown,
): boolean {
  if (event === 'close') exchangeOf(this.req)?.responseClosed()
  else if (event === 'pipe') followBody(exchangeOf(this.req)!, first as Readable)
  const { emit } = Object.getPrototypeOf(this) as { emit(...args: unknown[]): boolean }
  return emit.call(this, event, first, second)
}

function onStreamAborted(this: ServerHttp2Stream): void {
  ;(this as Carrier)[EXCHANGE]?.aborted()
}

function onStreamFinished(this: ServerHttp2Stream): void {
  ;(this as Carrier)[EXCHANGE]?.endRequest()
}

function onStreamClosed(this: ServerHttp2Stream): void {
  const exchange = (this as Carrier)[EXCHANGE]!
  exchange.responseClosed()
  breakRequest(exchange.request)
}

import type { UnderlyingSource } from 'node:stream/web'
import { atMost } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Emit, Served, Waiting } from '../base/events.ts'
import type { World } from '../base/world.ts'
import type { DrainLimits } from '../http/drain.ts'
import type { Speaker } from '../http/connections.ts'
import { GOING_AWAY } from '../http/goodbyes.ts'
import type { Ended, WhenOver } from '../http/exchange.ts'
import type { Transport } from './visit.ts'

/** What is asked of a request that came without a connection. */
export type Fetched = Pick<Request, 'method' | 'url' | 'signal'>

/** Requests that came by `fetch`, without a connection: what an `HttpServer` is to connections. Held by its service. */
export class Fetches {
  readonly served: Served = { requests: 0, cut: 0, left: 0, refused: 0 }
  readonly emit: Emit
  readonly world: World
  readonly #open = new Set<FetchTransport>()
  #onEmpty: (() => void) | undefined

  constructor(emit: Emit, world: World) {
    this.emit = emit
    this.world = world
  }

  /** A request has come. */
  begin(request: Fetched): FetchTransport {
    const transport = new FetchTransport(request, this)
    this.served.requests++
    this.#open.add(transport)
    return transport
  }

  waiting(): Waiting[] {
    return [...this.#open].map((one) => ({
      kind: 'request',
      what: one.name,
      age: this.world.now() - one.since,
    }))
  }

  /** Waits until all are over; then their signals, then no longer. */
  async drain(limits: DrainLimits): Promise<void> {
    for (const { speaker } of this.#open) speaker?.goodbye(GOING_AWAY, 0)
    const empty = this.#empty()
    const forced = new Promise<void>((resolve) =>
      limits.force.addEventListener('abort', () => resolve(), { once: true }),
    )
    if (
      limits.force.aborted ||
      (await atMost(Promise.race([empty, forced]), limits.t1)) === 'late' ||
      limits.force.aborted
    ) {
      for (const one of this.#open) one.interrupt(graceSpent(one.name))
      await atMost(Promise.race([empty, forced]), limits.t2)
    }
    for (const one of this.#open) if (one.underWay) this.#cut(one)
    if ((await atMost(empty, limits.cleanup)) === 'done') return
    for (const one of this.#open) {
      this.emit({
        type: 'handler.abandoned',
        method: one.method,
        url: one.url,
        age: this.world.now() - one.since,
      })
    }
  }

  forget(transport: FetchTransport): void {
    this.#open.delete(transport)
    if (this.#open.size === 0) this.#onEmpty?.()
  }

  #cut(one: FetchTransport): void {
    one.refuse(graceSpent(one.name))
    this.served.cut++
    this.emit({
      type: 'request.cut',
      method: one.method,
      url: one.url,
      age: this.world.now() - one.since,
      phase: 'handler',
      answered: false,
    })
  }

  #empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve()
    return new Promise((resolve) => (this.#onEmpty = resolve))
  }
}

/** One request that came by `fetch`: over when its answer has been read to the end, and what hangs on it has closed. */
export class FetchTransport implements Transport {
  readonly since: number
  readonly method: string
  /** The path, without the query, which may carry secrets. */
  readonly url: string
  readonly #fetches: Fetches
  readonly #controller = new AbortController()
  /** Run when it is over, last first; emptied while they run. */
  readonly #closers: WhenOver[] = []
  /** Background work that has not settled. */
  readonly #work = new Set<Promise<unknown>>()
  #failure: { error: unknown } | undefined
  #refused: StewardError | undefined
  #told: { error: unknown } | undefined
  #over: Promise<void> | undefined
  #ended: Ended | undefined

  constructor(request: Fetched, fetches: Fetches) {
    this.#fetches = fetches
    this.since = fetches.world.now()
    this.method = request.method
    this.url = new URL(request.url).pathname
    const gone = (): void => this.interrupt(callerGone(this.name))
    if (request.signal.aborted) gone()
    else request.signal.addEventListener('abort', gone, { once: true })
  }

  get name(): string {
    return `${this.method} ${this.url}`
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Has its answer not been read to the end? */
  get underWay(): boolean {
    return this.#over === undefined
  }

  interrupt(reason: StewardError): void {
    this.#controller.abort(reason)
  }

  /** Nobody answers in the place of a `fetch` handler; for those who commit, as over HTTP. */
  committing = false

  speaker: Speaker | undefined = undefined

  get refused(): StewardError | undefined {
    return this.#refused
  }

  /** The grace is spent: nobody waits for its answer any more. */
  refuse(reason: StewardError): void {
    this.#refused = reason
    this.fail(reason)
  }

  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  tellFailed(error: unknown, path: readonly string[] = []): void {
    if (this.#told && this.#told.error === error) return
    if (this.signal.aborted && error === this.signal.reason) return
    this.#told = { error }
    const { method, url } = this
    this.#fetches.emit({ type: 'request.failed', method, url, path, error })
  }

  waitUntil(work: Promise<unknown>): void {
    const settled = work
      .catch((error: unknown) => this.#tell(`Background work of ${this.name} failed`, error))
      .finally(() => this.#work.delete(settled))
    this.#work.add(settled)
  }

  whenOver(close: WhenOver): void {
    if (this.#ended) this.waitUntil(this.#close(close, this.#ended))
    else this.#closers.push(close)
  }

  /** The handler has answered: the request is over when the body has been read, or cancelled. */
  answer(response: Response): Response {
    const { status, statusText, headers } = response
    if (!response.body) {
      void this.end(status)
      return response
    }
    const body = followed(response.body, {
      over: () => this.end(status),
      failed: (error) => this.#broke(error),
    })
    return new Response(body, { status, statusText, headers })
  }

  /** Its body did: the answer is not whole. */
  #broke(error: unknown): void {
    this.fail(error)
    this.tellFailed(error)
  }

  /** It is over. Resolves when everything that hangs on it has closed; background work may go on. */
  end(status?: number): Promise<void> {
    return (this.#over ??= this.#end(status))
  }

  async #end(status: number | undefined): Promise<void> {
    const failure = this.#failure
    const known = status === undefined ? {} : { status }
    this.#ended = { failed: failure !== undefined, ...failure, ...known }
    for (const close of this.#closers.toReversed()) await this.#close(close, this.#ended)
    if (this.#work.size === 0) this.#fetches.forget(this)
    else void this.#untilIdle()
  }

  async #untilIdle(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work)
    this.#fetches.forget(this)
  }

  async #close(close: WhenOver, ended: Ended): Promise<void> {
    try {
      await close(ended)
    } catch (error) {
      this.#tell(`Closing after ${this.name} failed`, error)
    }
  }

  #tell(message: string, error: unknown): void {
    this.#fetches.emit({ type: 'error', message, error })
  }
}

/** What is told of a body. */
interface Following {
  /** It has been read to the end, or nobody wants it; what this returns is waited for. */
  over(): Promise<void>
  /** It broke. */
  failed(error: unknown): void
}

/** How many bytes are read before anybody asks for them: what a connection would take, too. */
const READ_AHEAD = 65_536

/**
 * The same bytes. They are read ahead, so that a short answer is over though nobody reads it, as over a connection: a test
 * that looks at the status alone leaves nothing open.
 */
function followed(
  body: ReadableStream<Uint8Array>,
  { over, failed }: Following,
): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  let isCancelled = false
  const source: UnderlyingSource<Uint8Array> = {
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (isCancelled) return
        if (!done) return controller.enqueue(value)
        await over()
        controller.close()
      } catch (error) {
        failed(error)
        await over()
        controller.error(error)
      }
    },
    async cancel(reason) {
      isCancelled = true
      await reader.cancel(reason).catch(failed)
      await over()
    },
  }
  return new ReadableStream(source, new ByteLengthQueuingStrategy({ highWaterMark: READ_AHEAD }))
}

function callerGone(name: string): StewardError {
  return new StewardError('ERR_CLIENT_GONE', `Cannot finish ${name}: its caller has gone`)
}

function graceSpent(name: string): StewardError {
  return new StewardError(
    'ERR_GRACE_SPENT',
    `Cannot finish ${name}: the grace of the stop is spent`,
  )
}

import { atMost } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Emit, Served, Waiting } from '../base/events.ts'
import type { World } from '../base/world.ts'
import type { DrainLimits } from '../http/drain.ts'
import type { Ended, WhenOver } from '../http/exchange.ts'
import type { Transport } from './visit.ts'

/** Requests that came by `fetch`, without a connection: what an `HttpServer` is to connections. Held by its service. */
export class Fetches {
  readonly served: Served = { requests: 0, cut: 0, left: 0 }
  readonly emit: Emit
  readonly world: World
  readonly #open = new Set<FetchTransport>()
  #onEmpty: (() => void) | undefined

  constructor(emit: Emit, world: World) {
    this.emit = emit
    this.world = world
  }

  /** A request has come. */
  begin(request: Request): FetchTransport {
    const transport = new FetchTransport(request, this)
    this.served.requests++
    this.#open.add(transport)
    return transport
  }

  waiting(): Waiting[] {
    return [...this.#open].map((one) => ({ kind: 'request', what: one.name, age: this.world.now() - one.since }))
  }

  /** Waits until all are over; then their signals, then no longer. */
  async drain(limits: DrainLimits): Promise<void> {
    const empty = this.#empty()
    const forced = new Promise<void>((resolve) => limits.force.addEventListener('abort', () => resolve(), { once: true }))
    if (limits.force.aborted || (await atMost(Promise.race([empty, forced]), limits.t1)) === 'late' || limits.force.aborted) {
      for (const one of this.#open) one.interrupt(graceSpent(one.name))
      await atMost(Promise.race([empty, forced]), limits.t2)
    }
    for (const one of this.#open) this.#cut(one)
    if ((await atMost(empty, limits.cleanup)) === 'done') return
    for (const one of this.#open) {
      this.emit({ type: 'handler.abandoned', method: one.method, url: one.url, age: this.world.now() - one.since })
    }
  }

  forget(transport: FetchTransport): void {
    this.#open.delete(transport)
    if (this.#open.size === 0) this.#onEmpty?.()
  }

  #cut(one: FetchTransport): void {
    this.served.cut++
    this.emit({ type: 'request.cut', method: one.method, url: one.url, age: this.world.now() - one.since, answered: false })
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
  readonly #closers: WhenOver[] = []
  readonly #work: Promise<unknown>[] = []
  #failure: { error: unknown } | undefined
  #over: Promise<void> | undefined

  constructor(request: Request, fetches: Fetches) {
    this.#fetches = fetches
    this.since = fetches.world.now()
    this.method = request.method
    this.url = new URL(request.url).pathname
    const gone = (): void => this.interrupt(new StewardError('ERR_CLIENT_GONE', `Cannot finish ${this.name}: its caller has gone`))
    if (request.signal.aborted) gone()
    else request.signal.addEventListener('abort', gone, { once: true })
  }

  get name(): string {
    return `${this.method} ${this.url}`
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  interrupt(reason: StewardError): void {
    this.#controller.abort(reason)
  }

  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  waitUntil(work: Promise<unknown>): void {
    this.#work.push(work.catch((error: unknown) => this.#tell('Background work after', error)))
  }

  whenOver(close: WhenOver): void {
    this.#closers.push(close)
  }

  /** The handler has answered: the request is over when the body has been read, or cancelled. */
  answer(response: Response): Response {
    if (!response.body) {
      void this.end(response.status)
      return response
    }
    const { status, statusText, headers } = response
    return new Response(followed(response.body, () => this.end(status)), { status, statusText, headers })
  }

  /** It is over. Resolves when everything that hangs on it has closed. */
  end(status?: number): Promise<void> {
    return (this.#over ??= this.#end(status))
  }

  async #end(status: number | undefined): Promise<void> {
    const ended: Ended = { failed: this.#failure !== undefined, ...this.#failure, ...(status === undefined ? {} : { status }) }
    for (const close of this.#closers.toReversed()) await this.#close(close, ended)
    const over = Promise.all(this.#work).finally(() => this.#fetches.forget(this))
    // Background work outlives the response
    if (this.#work.length === 0) await over
  }

  async #close(close: WhenOver, ended: Ended): Promise<void> {
    try {
      await close(ended)
    } catch (error) {
      this.#tell('Closing after', error)
    }
  }

  #tell(what: string, error: unknown): void {
    this.#fetches.emit({ type: 'error', message: `${what} ${this.name} failed`, error })
  }
}

/** The same bytes; `over` is called, and awaited, when they have all been read, or nobody wants them. */
function followed(body: ReadableStream<Uint8Array>, over: () => Promise<void>): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (!done) return controller.enqueue(value)
        await over()
        controller.close()
      } catch (error) {
        await over()
        controller.error(error)
      }
    },
    async cancel(reason) {
      await reader.cancel(reason)
      await over()
    },
  })
}

function graceSpent(name: string): StewardError {
  return new StewardError('ERR_GRACE_SPENT', `Cannot finish ${name}: the grace of the stop is spent`)
}

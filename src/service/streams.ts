import type { StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import { Exchange } from '../http/exchange.ts'
import { breakOff } from '../http/handling.ts'
import { SseBody, type SseEvent, type SseSource } from '../http/event-stream.ts'
import type { Goodbye } from '../http/goodbyes.ts'
import type { Speaker } from '../http/connections.ts'
import { isAnswer, stoppingOf } from './sockets.ts'
import type { Visit } from './visit.ts'

/** What a stream of server-sent events is told of its client. */
export interface SseContext {
  /** The `id` of the last event that the client has seen, when it comes again; empty when it has seen none. */
  readonly lastEventId: string
  /** Aborted when the stream is over: its client has gone, or the service has ended it. */
  readonly signal: AbortSignal
  /**
   * Aborted when the service begins to stop. A stream that has asked for it gets up to 2 s of its own before it is ended (a fifth of
   * the drain, if that is less).
   */
  readonly stopping: AbortSignal
}

/** What begins a stream. */
export interface Beginning {
  source(context: SseContext): SseSource
  /** In milliseconds. */
  readonly keepAlive: number
  /** Does it hear of the stop by what it was given? */
  readonly heedsStop: boolean
}

/** When its clients come back after a stop, in milliseconds: spread, so that they do not all come at once. */
const [SOONEST, SPREAD] = [1_000, 4_000]

/** Begins a stream of events as the answer of a visit. The visit's scope is open until its source has ended, its cleanup included. */
export function beginStream(visit: Visit, beginning: Beginning): ReadableStream<Uint8Array> {
  return new Streaming(visit, beginning).body.stream
}

class Streaming implements SseContext, Speaker {
  readonly body: SseBody
  readonly #visit: Visit
  readonly #controller = new AbortController()
  #heedsStop: boolean
  #release: Release = () => {}

  constructor(visit: Visit, { source, keepAlive, heedsStop }: Beginning) {
    this.#visit = visit
    this.#heedsStop = heedsStop
    const { transport } = visit
    const { method, url } = visit.request
    this.body = new SseBody(source(this), {
      name: `${method} ${url.pathname}`,
      world: visit.host.app.root.world,
      keepAlive,
      controller: this.#controller,
      last: () => (this.#isStopping ? this.#last() : undefined),
      isAnswer: (error) =>
        [stoppingOf(visit), this.#controller.signal, visit.signal].some((signal) =>
          isAnswer(error, signal),
        ),
      failed: (error, broke) => this.#failed(error, broke),
    })
    transport.signal.addEventListener('abort', this.#interrupted)
    transport.speaker = this
    transport.whenOver(() => this.body.over)
    void this.body.over.then(() => this.#release())
    if (transport instanceof Exchange) transport.connection.traffic.speaks(this)
  }

  get lastEventId(): string {
    return this.#visit.request.headers.get('last-event-id') ?? ''
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get stopping(): AbortSignal {
    this.#heedsStop = true
    return stoppingOf(this.#visit)
  }

  goodbye(_goodbye: Goodbye, ownTime: number): void {
    const end = (): void => this.body.end()
    if (!this.#heedsStop || ownTime === 0) return end()
    this.#release = this.#visit.host.app.root.world.timer(ownTime, end)
  }

  cut(): void {
    this.body.end()
  }

  readonly #interrupted = (): void => {
    const reason = this.#visit.signal.reason as StewardError
    if (reason.code === 'ERR_CLIENT_GONE') this.body.leave(reason)
    else this.body.end()
  }

  get #isStopping(): boolean {
    return stoppingOf(this.#visit).aborted
  }

  #last(): SseEvent {
    const wait = SOONEST + SPREAD * this.#visit.host.app.root.world.random()
    return { event: 'shutdown', data: 'the service is stopping', retry: `${Math.round(wait)}ms` }
  }

  #failed(error: unknown, broke: boolean): void {
    const { transport } = this.#visit
    transport.fail(error)
    transport.tellFailed(error)
    if (!broke) return
    if (transport instanceof Exchange) breakOff(transport)
    else this.body.error(error)
  }
}

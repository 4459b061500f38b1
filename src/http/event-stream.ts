import { ServerResponse } from 'node:http'
import type { UnderlyingSource } from 'node:stream/web'
import { milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { Release, World } from '../base/world.ts'
import type { Exchange } from './exchange.ts'
import { streamOf } from './http2.ts'
import { reasonOf } from './interruption.ts'
import { detach } from './refuse.ts'

/** One event of a stream of server-sent events; a string is the data of one without a name. */
export interface SseEvent {
  /** Its name: what `addEventListener` of the browser's `EventSource` waits for. @default 'message' */
  event?: string
  /** A string as it is, anything else as JSON. */
  data?: unknown
  /** What the client sends back as `Last-Event-ID` when it comes again. */
  id?: string
  /** How long the client waits before it comes again, once the stream has ended. */
  retry?: Duration
}

/** An event as it is sent. @throws `ERR_BAD_OPTION` for what it cannot hold */
function encode(given: SseEvent | string): string {
  const { event, data, id, retry } = typeof given === 'string' ? { data: given } : checked(given)
  let text = ''
  if (event !== undefined) text += `event: ${oneLine('event', event)}\n`
  if (id !== undefined) text += `id: ${oneLine('id', id)}\n`
  if (retry !== undefined) text += `retry: ${Math.round(milliseconds(retry, 'retry'))}\n`
  for (const line of linesOf(data)) text += `data: ${line}\n`
  return `${text}\n`
}

function checked(given: SseEvent): SseEvent {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return given
  throw badEvent(`${describe(given)} is no event`)
}

function linesOf(data: unknown): string[] {
  if (data === undefined) return []
  const text = typeof data === 'string' ? data : (JSON.stringify(data) as string | undefined)
  if (text === undefined) throw badEvent(`its data is ${describe(data)}, which is no JSON`)
  return text.split(/\r\n|\r|\n/)
}

function oneLine(name: string, value: unknown): string {
  // A browser ignores an id with a NUL in it
  if (typeof value === 'string' && !/[\r\n\0]/.test(value)) return value
  throw badEvent(`its ${name} is ${describe(value)}, pass a string of one line`)
}

function badEvent(why: string): StewardError {
  const form = "yield 'text' or { event, data, id, retry }"
  return new StewardError('ERR_BAD_OPTION', `Cannot send an event: ${why}; ${form}`)
}

/** What gives the events. */
export type SseSource = AsyncIterator<SseEvent | string, unknown, undefined>

/** How a stream of events is kept. */
export interface SseSetting {
  /** What it is called where it is named: `GET /prices`. */
  readonly name: string
  readonly world: World
  /** How often a comment is sent when nothing else is, in milliseconds, so that nobody on the way takes the stream for dead. */
  readonly keepAlive: number
  /** Aborted when the stream is over, by whomever: what the source waits for ends then. */
  readonly controller: AbortController
  /** The last event, when the stream ends while the service stops; `undefined`: the service goes on. */
  last(): SseEvent | undefined
  /** Does an error only say that it was told to end? */
  isAnswer(error: unknown): boolean
  /** The source has thrown: in its cleanup, or, when it `broke`, in the middle of the stream. */
  failed(error: unknown, broke: boolean): void
}

const COMMENT = ':\n\n'

/**
 * The events of a source as a body.
 *
 * ```
 *  open ── the source has ended, or threw ──▶ ended
 *    ├── end(): the service stops ──▶ ending ── its cleanup has run ──▶ ended
 *    └── nobody reads it any more ──▶ ending ─────────▲
 * ```
 *
 * It is over when the source has ended, its cleanup included.
 */
export class SseBody {
  readonly stream: ReadableStream<Uint8Array>
  readonly #source: SseSource
  readonly #setting: SseSetting
  readonly #encoder = new TextEncoder()
  readonly #over = Promise.withResolvers<void>()
  #controller!: ReadableStreamDefaultController<Uint8Array>
  #state: 'open' | 'ending' | 'ended' = 'open'
  #quiet: Release = () => {}

  constructor(source: SseSource, setting: SseSetting) {
    this.#source = source
    this.#setting = setting
    const underlying: UnderlyingSource<Uint8Array> = {
      start: (controller) => void (this.#controller = controller),
      pull: () => this.#next(),
      cancel: () => this.#end(reasonOf(setting.name, 'gone')),
    }
    this.stream = new ReadableStream(underlying, { highWaterMark: 1 })
  }

  /** Resolves when the source has ended, and what it cleans up. Never rejects. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  /** The service stops: the last event, and the end. */
  end(): void {
    if (this.#state !== 'open') return
    this.#close()
    void this.#end(stopped(this.#setting.name))
  }

  /** Its client has gone. */
  leave(reason: StewardError): void {
    if (this.#state !== 'open') return
    this.#controller.close()
    void this.#end(reason)
  }

  /** Whoever reads it learns that it is not whole. */
  error(error: unknown): void {
    this.#controller.error(error)
  }

  async #next(): Promise<void> {
    this.#keepAlive()
    try {
      const { done, value } = await this.#source.next()
      if (this.#state !== 'open') return
      if (done) this.#finish()
      else this.#send(encode(value))
    } catch (error) {
      await this.#broke(error)
    } finally {
      this.#quiet()
    }
  }

  /** The source has come to its end by itself. */
  #finish(): void {
    this.#close()
    this.#ended()
  }

  async #broke(error: unknown): Promise<void> {
    const broke = this.#state === 'open'
    if (broke) this.#state = 'ending'
    // What a source throws that was told to end while it waited comes from its cleanup
    if (!this.#setting.isAnswer(error)) this.#setting.failed(error, broke)
    else if (broke) this.#close()
    // Whoever has told it to end cleans up already
    if (broke) await this.#cleanUp()
  }

  #close(): void {
    const last = this.#setting.last()
    if (last) this.#send(encode(last))
    this.#controller.close()
  }

  /** Whoever reads it, or the service, has ended it: the source is told, and cleans up. */
  async #end(reason: StewardError): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'ending'
    this.#quiet()
    this.#setting.controller.abort(reason)
    await this.#cleanUp()
  }

  async #cleanUp(): Promise<void> {
    try {
      await this.#source.return?.()
    } catch (error) {
      if (!this.#setting.isAnswer(error)) this.#setting.failed(error, false)
    }
    this.#ended()
  }

  #ended(): void {
    this.#state = 'ended'
    this.#quiet()
    this.#setting.controller.abort()
    this.#over.resolve()
  }

  #keepAlive(): void {
    const { world, keepAlive } = this.#setting
    this.#quiet()
    this.#quiet = world.timer(keepAlive, () => {
      // A client that does not read gets no more of them
      if ((this.#controller.desiredSize ?? 0) > 0) this.#send(COMMENT)
      this.#keepAlive()
    }, 'idle') // oxfmt-ignore
  }

  #send(text: string): void {
    this.#controller.enqueue(this.#encoder.encode(text))
  }
}

function stopped(name: string): StewardError {
  return new StewardError('ERR_STOPPING', `Cannot go on with ${name}: the service is stopping`)
}

/** The real one, whatever a framework has wrapped around that of a response. */
const { end } = ServerResponse.prototype as { end(): void }

/**
 * Ends a stream of server-sent events that is under way, whoever writes it, with its last chunk: its client comes again by itself.
 * What is written to it from now on goes nowhere. Any other body would look whole.
 */
export function endEventStream({ response, headSent }: Exchange): void {
  if (!headSent || response.writableEnded || !hasEvents(response)) return
  if (streamOf(response)) response.end()
  else end.call(response)
  detach(response)
}

/** As it was sent: Node does not keep the headers that were handed to writeHead. */
function hasEvents(response: ServerResponse): boolean {
  const { _header: head = '' } = response as { _header?: string }
  const type =
    streamOf(response)?.sentHeaders?.['content-type'] ?? /^content-type:(.*)$/im.exec(head)?.[1]
  return /^\s*text\/event-stream\b/i.test(String(type))
}

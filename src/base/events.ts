import type { Release } from './world.ts'

/** Something under way that a start or a stop is waiting for. `age` is in milliseconds. */
export interface Waiting {
  kind: 'request' | 'connection' | 'socket' | 'handler' | 'background' | 'hook' | 'resource'
  /** A request's method and path, a resource's or a hook's name. */
  what: string
  age: number
}

/** What a service served and what became of it, counted from its start. */
export interface Served {
  /** Requests whose handler ran. */
  requests: number
  /** Requests whose head had arrived and whose response was not wholly handed to the kernel by us, and handlers that were abandoned. */
  cut: number
  /** Clients that left before their response was complete. */
  left: number
  /** Upgraded connections whose clients a stop has parted with: how many were told, and how many of these did not answer in time. Absent: there were none. */
  sockets?: { told: number; lost: number }
  /** Requests that a stop turned away with 503, as it was told to: their handler did not run. */
  refused: number
}

/** What several have served together. */
export function sumOf(first: Served | undefined, second: Served): Served {
  if (!first) return { ...second }
  return {
    requests: first.requests + second.requests,
    cut: first.cut + second.cut,
    left: first.left + second.left,
    refused: first.refused + second.refused,
    ...(first.sockets ? { sockets: first.sockets } : {}),
  }
}

/** How long each stage of a stop took, in milliseconds. */
export interface StageTimes {
  stopping: number
  draining: number
  closing: number
}

/** Which worker of a supervisor: its place, its process, and with which code it was started. */
export interface OfWorker {
  slot: number
  pid: number
  generation: number
}

/**
 * Everything that a service tells while it lives; log lines, the command line's screen and tests all read this one stream.
 * Past tense for facts, -ing for starts; `took` and `age` are in milliseconds.
 */
export type ServiceEvent =
  | { type: 'service.opening'; name: string }
  | { type: 'start.waiting'; for: readonly Waiting[] }
  | { type: 'resource.opening'; name: string }
  | { type: 'resource.opened'; name: string; took: number }
  | { type: 'resource.failed'; name: string; took: number; error: unknown }
  | { type: 'resource.late'; name: string; doing: 'opening' | 'closing'; after: number }
  | { type: 'resource.closing'; name: string }
  | { type: 'resource.closed'; name: string; took: number; error?: unknown }
  | { type: 'journal.opened'; folder: string }
  | { type: 'note.settled'; name: string; attempt: number; took: number }
  | { type: 'note.failed'; name: string; attempt: number; took: number; error: unknown }
  | { type: 'hook.started'; name: string }
  | { type: 'hook.ended'; name: string; took: number; error?: unknown }
  | { type: 'hook.late'; name: string; after: number }
  | { type: 'service.listening'; url: string }
  | { type: 'service.ready'; took: number }
  | { type: 'certificate.reloaded'; file: string; subject: string; validTo: string }
  | { type: 'service.stopping'; reason: string; grace: number }
  | { type: 'service.forced'; reason: string; grace: number }
  | { type: 'service.draining' }
  | { type: 'listener.closed' }
  | { type: 'drain.waiting'; for: readonly Waiting[] }
  /** The clients of WebSockets and of event streams are told, over so many milliseconds; `code` is that of the Close frames. */
  | { type: 'goodbye.started'; clients: number; code: number; over: number }
  /** One of them has not closed in its time. */
  | { type: 'socket.lost'; method: string; url: string; age: number }
  | {
      type: 'request.cut'
      method: string
      url: string
      age: number
      /** Where it was: without a head of a response, in its response, or upgraded to another protocol. */
      phase: 'handler' | 'response' | 'upgraded'
      /** Was it answered 503 in the handler's place? */
      answered: boolean
      /** How much of its response was handed to the kernel; absent where that is not known. */
      bytes?: number | undefined
    }
  | { type: 'handler.abandoned'; method: string; url: string; age: number }
  | { type: 'request.failed'; method: string; url: string; path: readonly string[]; error: unknown }
  | { type: 'drain.ended'; served: Served }
  | { type: 'service.closing' }
  | {
      type: 'service.closed'
      clean: boolean
      served: Served
      took: StageTimes
      errors: readonly unknown[]
    }
  | { type: 'process.held'; by: readonly string[] }
  | ({ type: 'worker.starting' } & OfWorker)
  | ({ type: 'worker.ready'; took: number } & OfWorker)
  | ({ type: 'worker.stopping'; reason: string } & OfWorker)
  | ({ type: 'worker.dying'; reason: string } & OfWorker)
  | ({ type: 'worker.retiring'; reason: string } & OfWorker)
  | ({
      type: 'worker.hung'
      after: number
      /** How many requests were under way on it when it was last heard. */
      underWay: number
      /** Where its event loop is blocked, in lines as Node prints them; empty when that could not be had. */
      stack: string
      /** Why there is no stack. */
      trouble?: string
    } & OfWorker)
  | ({
      type: 'worker.killed'
      doing: 'starting' | 'stopping' | 'hanging'
      after: number
      /** Where its event loop was blocked, if it was silent in its stop. */
      stack?: string
    } & OfWorker)
  | ({
      type: 'worker.gone'
      age: number
      code: number | null
      signal: string | null
      /** What has probably ended it; empty when it stopped in order. */
      cause: string
    } & OfWorker)
  | { type: 'roll.started'; generation: number; reason: string }
  | { type: 'roll.ended'; generation: number; took: number }
  | { type: 'roll.failed'; generation: number; took: number }
  | { type: 'stub.ready'; pid: number; took: number }
  | { type: 'stub.gone'; pid: number; age: number; cause: string }
  | { type: 'prepare.started'; pid: number }
  | { type: 'prepare.ended'; pid: number; took: number }
  | { type: 'prepare.failed'; pid: number; took: number; reason: string }
  | { type: 'settling.started'; pid: number }
  | { type: 'settling.ended'; pid: number; took: number; clean: boolean }
  | { type: 'supervisor.listening'; url: string; workers: number }
  | { type: 'supervisor.stopping'; reason: string; grace: number }
  | { type: 'supervisor.forced'; reason: string }
  | { type: 'supervisor.closed'; clean: boolean; took: number }
  | { type: 'warning'; message: string }
  | { type: 'error'; message: string; error: unknown }

/** Takes an event; what emits has no idea who listens. */
export type Emit = (event: ServiceEvent) => void

/** Listens to what a service tells. */
export interface Events extends AsyncIterable<ServiceEvent> {
  /** Calls `listener` with every event from now on, in order, at once; the returned function ends it. */
  on(listener: (event: ServiceEvent) => void): Release
  /** Every event from now on; the loop ends when the service has closed. */
  [Symbol.asyncIterator](): AsyncIterator<ServiceEvent>
}

/** The one stream of a service. A listener that throws or rejects harms nobody: its error becomes an `error` event for the others. */
export class EventStream implements Events {
  readonly #listeners = new Set<(event: ServiceEvent) => void>()
  /** Iterations that wait for the next event; ended by `end()`. */
  readonly #ends = new Set<() => void>()
  #ended = false

  readonly emit: Emit = (event) => {
    for (const listener of this.#listeners) {
      try {
        const result: unknown = listener(event)
        if (result instanceof Promise) {
          result.catch((error: unknown) => this.#remove(listener, error))
        }
      } catch (error) {
        this.#remove(listener, error)
      }
    }
  }

  /** Told once, however many of its promises reject. */
  #remove(listener: (event: ServiceEvent) => void, error: unknown): void {
    if (!this.#listeners.delete(listener)) return
    const message = 'A listener of the event stream failed and was removed'
    this.emit({ type: 'error', message, error })
  }

  on(listener: (event: ServiceEvent) => void): Release {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** No more events will come: every iteration ends after what it has. */
  end(): void {
    this.#ended = true
    for (const end of this.#ends) end()
    this.#ends.clear()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ServiceEvent, void> {
    const queue: ServiceEvent[] = []
    let wake = (): void => {}
    const onEnd = (): void => wake()
    const release = this.on((event) => {
      queue.push(event)
      wake()
    })
    this.#ends.add(onEnd)
    try {
      for (;;) {
        for (let next = queue.shift(); next; next = queue.shift()) yield next
        if (this.#ended) return
        await new Promise<void>((resolve) => (wake = resolve))
      }
    } finally {
      release()
      this.#ends.delete(onEnd)
    }
  }
}

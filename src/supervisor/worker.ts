import type { World } from '../base/world.ts'
import type { FromWorker, StopKind, ToWorker } from './messages.ts'

/** How the process of a worker has ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: string | null
}

/** The process of a worker, as the operating system gives it. */
export interface Child {
  readonly pid: number
  send(message: ToWorker): void
  /** Kills it, with everything that it has spawned. */
  kill(): void
  onMessage(listener: (message: FromWorker) => void): void
  onExit(listener: (exit: Exit) => void): void
}

/**
 * Where a worker is:
 *
 * ```
 *  starting ── ready ──▶ ready ── stop(), or an error that nobody caught ──▶ stopping ── exit ──▶ gone
 *      │  └─── stop(), or its start takes too long ───────────────────────────▲                    ▲
 *      └────────────────────────────────── exit ─────────────────────────────────────────────────┘
 * ```
 */
export type WorkerState = 'starting' | 'ready' | 'stopping' | 'gone'

/** How long workers may take, in milliseconds. */
export interface WorkerLimits {
  /** For each step of a start; a step that is done gives as much again. */
  readonly boot: number
  /** For a stop; one second later it is killed. */
  readonly grace: number
}

/** How long after its grace a worker is killed, in milliseconds: its own watchdog comes first, and says why. */
const MERCY = 1_500

/** What a supervisor hears of its workers. */
export interface WorkerListener {
  ready(worker: Worker): void
  /** It has begun to stop though nobody asked: an error that nobody caught. */
  dying(worker: Worker, reason: string): void
  /** It is killed, since its start or its stop took too long. */
  killed(worker: Worker, doing: 'starting' | 'stopping', after: number): void
  gone(worker: Worker, exit: Exit): void
}

/** One worker from the spawn of its process to the end of it. */
export class Worker {
  readonly slot: number
  readonly generation: number
  /** When it was spawned, on the world's clock. */
  readonly since: number
  readonly #child: Child
  readonly #listener: WorkerListener
  readonly #limits: WorkerLimits
  readonly #world: World
  #state: WorkerState = 'starting'
  #release: () => void = () => {}
  /** Has it become ready, ever? */
  wasReady = false
  /** Why its start has failed, in its own words. */
  failure = ''

  constructor(
    { slot, generation }: { slot: number; generation: number },
    child: Child,
    { listener, limits, world }: { listener: WorkerListener; limits: WorkerLimits; world: World },
  ) {
    this.slot = slot
    this.generation = generation
    this.#child = child
    this.#listener = listener
    this.#limits = limits
    this.#world = world
    this.since = world.now()
    this.#await('starting', limits.boot)
    child.onMessage((message) => this.#hear(message))
    child.onExit((exit) => this.#exited(exit))
  }

  get state(): WorkerState {
    return this.#state
  }

  get pid(): number {
    return this.#child.pid
  }

  /** Milliseconds since its process was spawned. */
  get age(): number {
    return this.#world.now() - this.since
  }

  /** Asks it to stop; it is killed when that takes longer than its grace. Once. */
  stop(kind: StopKind, reason: string): void {
    if (this.#state === 'stopping' || this.#state === 'gone') return
    this.#child.send({ t: 'stop', kind, reason })
    this.#stopping()
  }

  /** Cuts what is under way. */
  force(reason: string): void {
    if (this.#state !== 'gone') this.#child.send({ t: 'force', reason })
  }

  /** Ends it at once. */
  kill(): void {
    if (this.#state !== 'gone') this.#child.kill()
  }

  #stopping(): void {
    this.#state = 'stopping'
    this.#await('stopping', this.#limits.grace + MERCY)
  }

  /** Kills it after so long, unless it comes further before. */
  #await(doing: 'starting' | 'stopping', limit: number): void {
    this.#release()
    this.#release = this.#world.timer(limit, () => {
      this.#listener.killed(this, doing, limit)
      this.#child.kill()
    })
  }

  #hear(message: FromWorker): void {
    if (message.t === 'progress' && this.#state === 'starting') {
      this.#await('starting', this.#limits.boot)
    }
    if (message.t === 'ready' && this.#state === 'starting') {
      this.#release()
      this.#state = 'ready'
      this.wasReady = true
      this.#listener.ready(this)
    }
    if (message.t === 'failed') this.failure = message.reason
    if (message.t === 'dying' && this.#state !== 'stopping') {
      this.#stopping()
      this.#listener.dying(this, message.reason)
    }
  }

  #exited(exit: Exit): void {
    this.#release()
    this.#state = 'gone'
    this.#listener.gone(this, exit)
  }
}

import type { World } from '../base/world.ts'
import { reserveOf } from '../service/stages.ts'
import type { FromWorker, LoadedService, StopKind, ToWorker } from './messages.ts'

/** How the process of a worker has ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: string | null
  /** Why there was no process at all. */
  readonly error?: string
}

/** The process of a worker, as the operating system gives it. */
export interface Child {
  readonly pid: number
  send(message: ToWorker): void
  /** Kills it, with everything that it has spawned. */
  kill(): void
  onMessage(listener: (message: FromWorker) => void): void
  /** Once. */
  onExit(listener: (exit: Exit) => void): void
}

/**
 * Where a worker is:
 *
 * ```
 *  starting ── ready ──▶ ready ── stop(), or it stops by itself ────────────▶ stopping ── exit ──▶ gone
 *      │  └─── stop() ────────────────────────────────────────────────────────▲                    ▲
 *      └─────────────────────────────── exit, or it takes too long ──────────────────────────────┘
 * ```
 *
 * In the middle of its start, when its module is loaded and nothing is open, it waits for `go()`, as long as that takes.
 * A step that takes too long is ended by a kill: the exit follows.
 */
export type WorkerState = 'starting' | 'ready' | 'stopping' | 'gone'

/** How long workers may take, in milliseconds. */
export interface WorkerLimits {
  /** For each step of a start; a step that is done gives as much again. */
  readonly boot: number
  /** For a stop, where the service does not say it; soon after it the worker is killed. */
  readonly grace: number
}

/** How long after its grace a worker is killed, in milliseconds: its own watchdog comes first, and says why. */
const MERCY = 1_500

/**
 * How long a worker that is late may still be heard, in milliseconds. When this process or the whole machine was suspended, timers
 * fire before what has come meanwhile is read.
 */
const LAST_WORD = 100

/** What a supervisor hears of its workers. */
export interface WorkerListener {
  /** Its module is loaded: it waits for `go()`. */
  loaded(worker: Worker): void
  ready(worker: Worker): void
  /** It was ready, and has begun to stop though nobody asked. */
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
  #grace: number
  /** Those of its resources that only one process may hold, by their names. */
  exclusive: readonly string[] = []
  /** Does it wait for `go()`? */
  isWaiting = false
  /** Has it become ready, ever? */
  wasReady = false
  /** Why its start has failed, in its own words. */
  failure = ''
  /** Was it asked to stop, or did it say that it does? What ends otherwise is lost. */
  wasExpected = false
  /** Has it stopped in order? */
  hasClosed = false
  /** What took so long that it was killed. */
  wasKilled: 'start' | 'stop' | undefined = undefined

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
    this.#grace = limits.grace
    this.#limit(limits.boot)
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

  /** How long its stop may take, in milliseconds. */
  get grace(): number {
    return this.#grace
  }

  /** It may open what it holds. */
  go(): void {
    this.isWaiting = false
    this.#child.send({ t: 'go' })
    this.#limit(this.#limits.boot)
  }

  /** Asks it to stop; it is killed when that takes longer than its grace. Once. */
  stop(kind: StopKind, reason: string): void {
    if (this.#state === 'stopping' || this.#state === 'gone') return
    this.#child.send({ t: 'stop', kind, reason })
    this.#stopping()
  }

  /** Cuts what is under way: what closes then has the close reserve. */
  force(reason: string): void {
    if (this.#state === 'gone') return
    this.#child.send({ t: 'force', reason })
    this.#limit(reserveOf(this.#grace) + MERCY)
  }

  /** Ends it at once. */
  kill(): void {
    if (this.#state !== 'gone') this.#child.kill()
  }

  #stopping(): void {
    this.#state = 'stopping'
    this.isWaiting = false
    this.wasExpected = true
    this.#limit(this.#grace + MERCY)
  }

  /** Kills it after so long, unless it comes further before. */
  #limit(ms: number): void {
    const world = this.#world
    this.#release()
    this.#release = world.timer(ms, () => {
      this.#release = world.timer(LAST_WORD, () => this.#late(ms))
    })
  }

  #late(after: number): void {
    const doing = this.#state === 'starting' ? 'starting' : 'stopping'
    this.wasKilled = doing === 'starting' ? 'start' : 'stop'
    this.#listener.killed(this, doing, after)
    this.#child.kill()
  }

  #hear(message: FromWorker): void {
    switch (message.t) {
      case 'loaded':
        return this.#loaded(message)
      case 'elsewhere':
        return this.#stopping()
      case 'progress':
        return this.#progress()
      case 'ready':
        return this.#ready()
      case 'dying':
        return this.#dying(message.reason)
      case 'failed':
        this.failure = message.reason
        return
      case 'closed':
        this.hasClosed = true
        return
      default:
        // Another version of this program may know more
        return
    }
  }

  #loaded({ grace, exclusive }: LoadedService): void {
    this.#grace = grace
    this.exclusive = exclusive
    if (this.#state !== 'starting') return
    // It is not its own time that passes from now on
    this.#release()
    this.isWaiting = true
    this.#listener.loaded(this)
  }

  #progress(): void {
    if (this.#state === 'starting') this.#limit(this.#limits.boot)
  }

  #ready(): void {
    if (this.#state !== 'starting') return
    this.#release()
    this.#state = 'ready'
    this.wasReady = true
    this.#listener.ready(this)
  }

  #dying(reason: string): void {
    // A start that fails is told by its exit; until then it undoes what it has done
    if (this.#state === 'starting') return this.#limit(this.#grace + MERCY)
    if (this.#state !== 'ready') return
    this.#stopping()
    this.#listener.dying(this, reason)
  }

  #exited(exit: Exit): void {
    this.#release()
    this.#state = 'gone'
    this.#listener.gone(this, exit)
  }
}

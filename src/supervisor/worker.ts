import type { World } from '../base/world.ts'
import { reserveOf } from '../service/stages.ts'
import { LAST_WORD, limit } from './limit.ts'
import type { Figures, FromWorker, LoadedService, StopKind, ToWorker, Whereabouts } from './messages.ts' // oxfmt-ignore

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
  /** Where its main thread is, as a second thread of it sees it. Settles within 2 s, and never rejects. */
  whereabouts(): Promise<Whereabouts>
  /** Does a debugger trace it, as far as that is seen from outside? */
  isTraced(): boolean
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
 *      │  │              │   ▲                                                ▲  ▲                 ▲
 *      │  │     no beat  ▼   │ a beat: it is replaced all the same            │  │                 │
 *      │  │             hung ┴─── stop(), or kill(): its successor is ready ──┘  │                 │
 *      │  └─── stop() ───────────────────────────────────────────────────────────┘                 │
 *      └─────────────────────────────── exit, or it takes too long ────────────────────────────────┘
 * ```
 *
 * In the middle of its start, when its module is loaded and nothing is open, it waits for `go()`, as long as that takes.
 * A step that takes too long is ended by a kill: the exit follows. No limit runs while a debugger is attached.
 */
export type WorkerState = 'starting' | 'ready' | 'hung' | 'stopping' | 'gone'

/** How long workers may take, in milliseconds. */
export interface WorkerLimits {
  /** For each step of a start; a step that is done gives as much again. */
  readonly boot: number
  /** For a stop, where the service does not say it; soon after it the worker is killed. */
  readonly grace: number
  /** Between two beats of one that is ready; 0: for ever. */
  readonly hang: number
}

/**
 * How long after its grace a worker is killed, in milliseconds. Its own watchdog, where it hears of a stop, is a moment before, and
 * says why.
 */
const MERCY = 1_000

/** One that has not been heard for so long in its stop does not turn its event loop: it beats more often, in milliseconds. */
const SILENT = 3_000

/**
 * How long a process may take to end that has closed everything, in milliseconds, a debugger or not: Node itself waits at the end until
 * that has gone, which is not to hold a stop up.
 */
const END = 2_000

/** What took so long that a worker was killed. */
export type TooLong = 'starting' | 'stopping' | 'hanging'

/** A kill, after so many milliseconds; of one that is silent in its stop, with where it is. */
export interface Killing {
  readonly doing: TooLong
  readonly after: number
  readonly stack?: string
}

/** What a supervisor hears of its workers. */
export interface WorkerListener {
  /** Its module is loaded: it waits for `go()`. */
  loaded(worker: Worker): void
  ready(worker: Worker): void
  /** It was ready, and has begun to stop though nobody asked. */
  dying(worker: Worker, reason: string): void
  /** It has told how it does. */
  beat(worker: Worker, figures: Figures): void
  /** It asks to be replaced. */
  retiring(worker: Worker, reason: string): void
  /** It has not been heard for so many milliseconds: its event loop is blocked. */
  hung(worker: Worker, after: number, where: Whereabouts): void
  /** It is killed, since that took too long. */
  killed(worker: Worker, how: Killing): void
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
  /** Was its inspector open when it was last heard? */
  #inspected = false
  /** When it was last heard. */
  #heard: number
  /** How it does, as it has last said. */
  figures: Figures | undefined = undefined
  /** Why it is to be replaced, though it serves; empty: it is not. */
  retirement = ''
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
  /** Has it closed everything? */
  hasClosed = false
  /** What its process would have ended with, which is ended though nothing is left to do in it. */
  #endsWith: Exit | undefined = undefined
  /** What took so long that it was killed. */
  wasKilled: TooLong | undefined = undefined

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
    this.#heard = this.since
    this.#grace = limits.grace
    this.#limitStart(limits.boot)
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
    this.#limitStart(this.#limits.boot)
  }

  /** Asks it to stop; it is killed when that takes longer than its grace. Once; one that leaves still hears of the stop of the whole. */
  stop(kind: StopKind, reason: string): void {
    const isLeaving = this.#state === 'stopping'
    if (this.#state === 'gone' || (isLeaving && kind !== 'stop')) return
    this.#child.send({ t: 'stop', kind, reason })
    if (!isLeaving) this.#stopping()
  }

  /** Cuts what is under way: what closes then has the close reserve. */
  force(reason: string): void {
    if (this.#state === 'gone') return
    this.#child.send({ t: 'force', reason })
    this.#limitStop(reserveOf(this.#grace))
  }

  /** Ends it at once. */
  kill(): void {
    if (this.#state !== 'gone') this.#child.kill()
  }

  /** Ends it at once, since it hangs and cannot stop in order. */
  killHung(): void {
    if (this.#state !== 'hung') return
    this.#stopping()
    this.#late('hanging', this.#world.now() - this.#heard)
  }

  #stopping(): void {
    this.#state = 'stopping'
    this.isWaiting = false
    this.wasExpected = true
    this.#limitStop(this.#grace)
  }

  /** Kills it after so long, unless it comes further before. */
  #limitStart(ms: number): void {
    this.#await(ms, () => this.#late('starting', ms))
  }

  /** Kills it soon after so long. What is silent is asked where it is before. */
  #limitStop(ms: number): void {
    let where: Whereabouts | undefined
    const ask = async (): Promise<void> => {
      if (this.#world.now() - this.#heard >= SILENT) where = await this.#child.whereabouts()
    }
    this.#await(ms, () => {
      void ask()
      this.#await(MERCY - LAST_WORD, () => this.#late('stopping', ms + MERCY, where))
    })
  }

  #await(ms: number, late: () => void): void {
    const isDebugged = (): boolean => this.#inspected || this.#child.isTraced()
    this.#release()
    this.#release = limit(ms, { world: this.#world, isDebugged, late })
  }

  #late(doing: TooLong, after: number, where: Whereabouts = { trouble: '' }): void {
    this.wasKilled = doing
    this.#listener.killed(this, { doing, after, ...('stack' in where ? where : {}) })
    this.#child.kill()
  }

  /** It is ready, and heard: until when it must be heard again. */
  #awaitBeat(): void {
    const { hang } = this.#limits
    this.#release()
    if (hang > 0) this.#await(hang, () => void this.#hang(hang))
  }

  async #hang(after: number): Promise<void> {
    const heard = this.#heard
    const where = await this.#child.whereabouts()
    // It was asked to stop meanwhile, or was heard in the last moment
    if (this.#state !== 'ready' || this.#heard !== heard) return
    this.#state = 'hung'
    this.#listener.hung(this, after, where)
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
      case 'beat':
        return this.#beat(message)
      case 'retire':
        return this.#listener.retiring(this, message.reason)
      case 'dying':
        return this.#dying(message.reason)
      case 'failed':
        this.failure = message.reason
        return
      case 'closed':
        return this.#closed(message.clean)
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
    if (this.#state === 'starting') this.#limitStart(this.#limits.boot)
  }

  #ready(): void {
    if (this.#state !== 'starting') return
    this.#state = 'ready'
    this.wasReady = true
    this.#awaitBeat()
    this.#listener.ready(this)
  }

  #beat({ figures, inspected }: Extract<FromWorker, { t: 'beat' }>): void {
    this.figures = figures
    this.#inspected = inspected
    this.#heard = this.#world.now()
    if (this.#state !== 'ready' && this.#state !== 'hung') return
    const hasHung = this.#state === 'hung'
    this.#state = 'ready'
    this.#awaitBeat()
    // It serves again, and can stop in order once its successor is ready
    if (hasHung) this.#listener.retiring(this, 'its event loop was blocked')
    this.#listener.beat(this, figures)
  }

  #dying(reason: string): void {
    // A start that fails is told by its exit; until then it undoes what it has done
    if (this.#state === 'starting') return this.#limitStart(this.#grace + MERCY)
    if (this.#state !== 'ready' && this.#state !== 'hung') return
    this.#stopping()
    this.#listener.dying(this, reason)
  }

  #closed(clean: boolean): void {
    this.hasClosed = true
    this.#release()
    this.#release = this.#world.timer(END, () => {
      this.#endsWith = { code: clean ? 0 : 1, signal: null }
      this.#child.kill()
    })
  }

  #exited(exit: Exit): void {
    this.#release()
    this.#state = 'gone'
    this.#listener.gone(this, this.#endsWith ?? exit)
  }
}

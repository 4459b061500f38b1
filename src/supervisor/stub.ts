import type { Emit } from '../base/events.ts'
import type { Release, World } from '../base/world.ts'
import { causeOf } from './cause.ts'
import type { StopKind } from './messages.ts'
import { Worker, type Child, type Exit, type WorkerLimits, type WorkerListener } from './worker.ts'

/** What a stub is made of. Times are in milliseconds. */
export interface StubOptions {
  spawn(): Child
  /** How long no worker must be ready until it is started. */
  readonly after: number
  readonly limits: WorkerLimits
  readonly world: World
  readonly emit: Emit
  /** Called when its process has gone. */
  gone(): void
}

type State =
  | { is: 'absent' }
  | { is: 'awaited'; release: Release }
  | { is: 'present'; worker: Worker }
  /** It has died, in development: what has ended it would end the next one, too. */
  | { is: 'failed' }

/**
 * Stands in for the workers while none of them can answer: a process without the app's code, which accepts on the same socket and
 * says 503.
 *
 * ```
 *                          ┌────── it dies ────────────┐
 *  absent ── needed ──▶ awaited ── for so long ──▶ present ── it dies, in development ──▶ failed
 *    ▲                     │                          │                                     │
 *    └──── not needed ─────┴── not needed: it leaves ─┴──── not needed ─────────────────────┘
 * ```
 */
export class Stub implements WorkerListener {
  readonly #options: StubOptions
  #state: State = { is: 'absent' }
  /** Every process of it: one that leaves answers what it has accepted. */
  readonly #workers = new Set<Worker>()

  constructor(options: StubOptions) {
    this.#options = options
  }

  /** The processes that there are. */
  get workers(): readonly Worker[] {
    return [...this.#workers]
  }

  /** Is it needed now? Called after everything that happens. */
  look(isNeeded: boolean): void {
    if (!isNeeded) this.stop('roll', 'workers answer')
    else if (this.#state.is === 'absent') this.#await()
  }

  /** It is not needed any more. What it has accepted is answered. */
  stop(kind: StopKind, reason: string): void {
    const state = this.#state
    this.#state = { is: 'absent' }
    if (state.is === 'awaited') state.release()
    if (state.is === 'present') state.worker.stop(kind, reason)
  }

  loaded(worker: Worker): void {
    worker.go()
  }

  ready({ pid, age }: Worker): void {
    this.#options.emit({ type: 'stub.ready', pid, took: age })
  }

  beat(): void {
    // It serves until it is not needed any more
  }

  /** Somebody has sent it a signal. */
  retiring(worker: Worker, reason: string): void {
    this.dying(worker)
    worker.stop('retire', reason)
  }

  hung(): void {
    // There is no limit for it
  }

  dying(worker: Worker): void {
    if (this.#isPresent(worker)) this.#died()
  }

  killed(): void {
    // Nothing is in it that could be lost: its end tells of it
  }

  gone(worker: Worker, exit: Exit): void {
    const { pid, age } = worker
    if (this.#isPresent(worker)) this.#died()
    this.#workers.delete(worker)
    this.#options.emit({ type: 'stub.gone', pid, age, cause: causeOf(worker, exit) })
    this.#options.gone()
  }

  #died(): void {
    if (this.#options.after === 0) this.#state = { is: 'failed' }
    else this.#await()
  }

  #await(): void {
    const { after, world } = this.#options
    if (after === 0) return this.#spawn()
    this.#state = { is: 'awaited', release: world.timer(after, () => this.#spawn()) }
  }

  #spawn(): void {
    const { spawn, limits, world } = this.#options
    const worker = new Worker({ slot: -1, generation: 0 }, spawn(), {
      listener: this,
      limits,
      world,
    })
    this.#workers.add(worker)
    this.#state = { is: 'present', worker }
  }

  #isPresent(worker: Worker): boolean {
    return this.#state.is === 'present' && this.#state.worker === worker
  }
}

import type { Release, World } from '../base/world.ts'

/** How long a file that was touched may take to be whole: editors empty it first, or put another in its place. In milliseconds. */
const WHOLE = 50

/** How long nothing must change until the new code is started, in milliseconds: many saves are one reload. */
const QUIET = 100

/** How long changes may go on until it is started all the same, in milliseconds. */
const LONGEST = 2_000

/** What is reloaded. */
export interface Reloadable {
  /** From now on no worker is started. */
  pause(): void
  /** They are started again. */
  resume(): void
  /** The workers are stopped, and started anew as soon as all of them have gone. */
  restart(reason: string): void
}

/** What reloads are made of. */
export interface ReloadsOptions {
  readonly world: World
  readonly target: Reloadable
  /** Is there something else in a file than what was loaded? Asking makes it known. */
  hasChanged(file: string): boolean
  /** How a file is called to whoever changed it. */
  nameOf(file: string): string
}

type State =
  | { is: 'quiet' }
  | { is: 'looking'; touched: Set<string>; release: Release }
  | { is: 'gathering'; until: number; release: Release }

/**
 * Decides when the workers are reloaded. They begin to stop with the first change, and begin to start when there is no other for a
 * moment; what happens while they stop cuts nothing short, and a start of code that is not the newest is stopped in order.
 *
 * ```
 *  quiet ── a file is touched ──▶ looking ── 50 ms later its content is the same ──▶ quiet
 *    ▲                               │ has changed: the workers stop
 *    │                               ▼
 *    └─ the workers start ─────── gathering ◀─┐
 *            100 ms without another │         │ another change
 *                                   └─────────┘
 * ```
 */
export class Reloads {
  readonly #options: ReloadsOptions
  #state: State = { is: 'quiet' }

  constructor(options: ReloadsOptions) {
    this.#options = options
  }

  /** Something has happened to a file that was loaded, or is watched. */
  touched(file: string): void {
    const state = this.#state
    if (state.is === 'looking') state.touched.add(file)
    else if (state.is === 'gathering') this.#gatherMore(file)
    else {
      const release = this.#options.world.timer(WHOLE, () => this.#look())
      this.#state = { is: 'looking', touched: new Set([file]), release }
    }
  }

  /** What workers have loaded is known not to be the newest. */
  isOutdated(file: string): void {
    if (this.#state.is !== 'gathering') this.#begin([file])
  }

  /** Nothing is reloaded any more. */
  end(): void {
    if (this.#state.is !== 'quiet') this.#state.release()
    this.#state = { is: 'quiet' }
  }

  #look(): void {
    if (this.#state.is !== 'looking') return
    const changed = [...this.#state.touched].filter((file) => this.#options.hasChanged(file))
    if (changed.length > 0) this.#begin(changed)
    else this.#state = { is: 'quiet' }
  }

  #begin(changed: readonly string[]): void {
    const { target, world } = this.#options
    this.end()
    target.pause()
    target.restart(`${this.#named(changed)} changed`)
    this.#gather(world.now() + LONGEST)
  }

  #named([first = '', ...others]: readonly string[]): string {
    const name = this.#options.nameOf(first)
    return others.length === 0 ? name : `${name} and ${others.length} more`
  }

  #gatherMore(file: string): void {
    if (this.#state.is !== 'gathering' || !this.#options.hasChanged(file)) return
    this.#state.release()
    this.#gather(this.#state.until)
  }

  #gather(until: number): void {
    const { target, world } = this.#options
    const wait = Math.min(QUIET, until - world.now())
    const release = world.timer(wait, () => {
      this.#state = { is: 'quiet' }
      target.resume()
    })
    this.#state = { is: 'gathering', until, release }
  }
}

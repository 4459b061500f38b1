import type { Emit } from '../base/events.ts'
import type { World } from '../base/world.ts'
import type { Figures } from './messages.ts'
import type { Worker } from './worker.ts'

/** When workers are retired: each field is without effect where it is absent or 0. */
export interface RecyclingLimits {
  /** After so many requests, */
  readonly requests?: number
  /** and up to so many more, by chance, so that workers do not all go at the same time. */
  readonly jitter?: number
  /** After so many milliseconds. */
  readonly age?: number
  /** With so many bytes of memory. */
  readonly rss?: number
}

/** What one worker may have, its share of chance included. */
type Term = Required<Omit<RecyclingLimits, 'jitter'>>

const MEGABYTE = 1_048_576

/** Knows when a worker has served long enough. Held by its supervisor; what it knows of a worker goes with it. */
export class Recycling {
  readonly #limits: RecyclingLimits
  readonly #world: World
  readonly #emit: Emit
  readonly #terms = new WeakMap<Worker, Term>()
  #hasWarned = false

  constructor(limits: RecyclingLimits, { world, emit }: { world: World; emit: Emit }) {
    this.#limits = limits
    this.#world = world
    this.#emit = emit
  }

  /** Why a worker is to be retired, which has told its figures; `undefined`: it may go on. */
  reasonFor(worker: Worker, { served, rss }: Figures): string | undefined {
    const term = this.#termOf(worker, rss)
    if (served >= term.requests) return `it has served ${served} requests`
    if (worker.age >= term.age) return `it has lived for ${Math.round(worker.age / 1_000)} s`
    if (rss >= term.rss) return `it holds ${megabytes(rss)} of memory`
    return undefined
  }

  #termOf(worker: Worker, rss: number): Term {
    const known = this.#terms.get(worker)
    if (known) return known
    const { requests, jitter = 0, age, rss: most } = this.#limits
    const term = {
      requests: requests ? requests + Math.floor(this.#world.random() * (jitter + 1)) : Infinity,
      age: age || Infinity,
      rss: most && this.#isUseful(most, rss) ? most : Infinity,
    }
    this.#terms.set(worker, term)
    return term
  }

  /** A worker that holds more as soon as it is ready would be followed by one that does, without end. */
  #isUseful(most: number, rss: number): boolean {
    if (rss < most) return true
    if (!this.#hasWarned) {
      const message = `A worker holds ${megabytes(rss)} of memory as soon as it is ready, more than the ${megabytes(most)} of --max-rss: it is not retired for that; give --max-rss more`
      this.#emit({ type: 'warning', message })
    }
    this.#hasWarned = true
    return false
  }
}

/** `512 MB`. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / MEGABYTE)} MB`
}

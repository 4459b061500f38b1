import { describe, StewardError } from './errors.ts'
import { realWorld, type World } from './world.ts'

/** A length of time in words: `'250ms'`, `'5s'`, `'2m'`, `'1h'`. A bare number is refused: nobody can tell its unit. */
export type Duration = `${number}ms` | `${number}s` | `${number}m` | `${number}h`

const UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** The longest time, in milliseconds: the timers of the platform reach little further, and fire at once beyond that. */
const LONGEST = 24 * 24 * 3_600_000

/**
 * The milliseconds of a duration, a whole number; what is shorter than one, but more than nothing, is one.
 *
 * @param name what the duration is for, so that the error can say it
 * @throws `ERR_BAD_OPTION` for anything that is not a number followed by `ms`, `s`, `m` or `h`, and for more than 24 days
 */
export function milliseconds(duration: Duration, name = 'duration'): number {
  const match = typeof duration === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(duration) : null
  if (!match) {
    const found = typeof duration === 'string' ? JSON.stringify(duration) : describe(duration)
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot use ${found} as "${name}": it is not a duration, write '250ms', '5s', '2m' or '1h'`,
    )
  }
  const exact = Number(match[1]) * UNITS[match[2]!]!
  if (exact > LONGEST) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot use "${duration}" as "${name}": it is longer than 24 days, which timers do not reach, write '576h' or less`,
    )
  }
  return exact > 0 ? Math.max(1, Math.round(exact)) : 0
}

/** What deadlines that came from one another share: when the first of them was brought forward, everyone hears of it. */
interface Origin {
  at: number
  readonly waiting: Set<() => void>
}

/** A point in time that is handed down: every stage inside it asks what is left. */
export class Deadline {
  readonly #at: number
  readonly #world: World
  readonly #origin: Origin

  constructor(at: number, world: World = realWorld, origin: Origin = { at, waiting: new Set() }) {
    this.#at = at
    this.#world = world
    this.#origin = origin
  }

  /** A deadline so many milliseconds from now. */
  static in(ms: number, world: World = realWorld): Deadline {
    return new Deadline(world.now() + ms, world)
  }

  /** When it is, on the world's clock. */
  get at(): number {
    return Math.min(this.#at, this.#origin.at)
  }

  /** The milliseconds that are left, never negative. */
  get remaining(): number {
    return Math.max(0, this.at - this.#world.now())
  }

  /** The earlier one of this and `ms` milliseconds from now. */
  atMost(ms: number): Deadline {
    return new Deadline(Math.min(this.at, this.#world.now() + ms), this.#world, this.#origin)
  }

  /** Brings it forward to `ms` milliseconds from now, for itself and all that came from it; never puts it off. */
  hurry(ms: number): void {
    this.#origin.at = Math.min(this.#origin.at, this.#world.now() + ms)
    for (const rearm of this.#origin.waiting) rearm()
  }

  /** Calls `run` when the deadline has come, unless released before. */
  when(run: () => void): () => void {
    const { waiting } = this.#origin
    const release = (): void => {
      stop()
      waiting.delete(rearm)
    }
    const come = (): void => {
      release()
      run()
    }
    const rearm = (): void => {
      stop()
      stop = this.#world.timer(this.remaining, come)
    }
    let stop = this.#world.timer(this.remaining, come)
    waiting.add(rearm)
    return release
  }
}

/** What came of work that had a limit. */
export type Outcome = 'done' | 'late'

/**
 * Waits for `work`, but no longer than `limit`. Rejects when the work does; resolves with `'late'` when the limit came
 * first (the work then goes on, and a later rejection of it is swallowed: give it a `catch` of its own to see it).
 */
export async function atMost(work: Promise<unknown>, limit: Deadline): Promise<Outcome> {
  let release: (() => void) | undefined
  const late = new Promise<Outcome>((resolve) => {
    release = limit.when(() => resolve('late'))
  })
  try {
    return await Promise.race([work.then((): Outcome => 'done'), late])
  } finally {
    release?.()
  }
}

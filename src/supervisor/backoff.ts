/** The shortest and the longest wait between two starts, in milliseconds. */
const SHORTEST = 100
const LONGEST = 15_000

/** How long a worker must have lived for its slot to count as well again, in milliseconds. */
const STABLE = 30_000

/** How much of a wait is left to chance, so that slots do not start in step. */
const JITTER = 0.2

/**
 * How long a slot waits before a worker is started in it again: nothing after the first that died, then twice as long each time,
 * up to 15 s, until one has lived for 30 s.
 */
export class Backoff {
  #deaths = 0

  /** One has died, after so many milliseconds. Gives how long to wait; `random` is in [0, 1). */
  died(lived: number, random: number): number {
    if (lived >= STABLE) this.#deaths = 0
    const wait = this.#deaths === 0 ? 0 : Math.min(LONGEST, SHORTEST * 2 ** (this.#deaths - 1))
    this.#deaths++
    return wait * (1 - JITTER + 2 * JITTER * random)
  }
}

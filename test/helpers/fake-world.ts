import type { Release, World } from '../../src/base/world.ts'

interface Timer {
  readonly at: number
  readonly run: () => void
}

/** A world whose clock stands still until a test moves it. */
export class FakeWorld implements World {
  #now = 0
  readonly #timers = new Set<Timer>()

  now(): number {
    return this.#now
  }

  timer(ms: number, run: () => void): Release {
    const timer = { at: this.#now + Math.max(0, ms), run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  random(): number {
    return 0.5
  }

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.size
  }

  /** So much time goes by while the process is suspended: its timers fire when it goes on. */
  suspend(ms: number): void {
    this.#now += ms
  }

  /** Lets so much time go by: every timer in it fires, in order, and what follows from each happens before the next. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms
    for (;;) {
      await settled()
      const [next] = [...this.#timers].sort((one, other) => one.at - other.at)
      if (!next || next.at > until) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.run()
    }
    this.#now = until
  }
}

/** Resolves when everything has happened that needs neither a clock nor the outside world. */
export async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

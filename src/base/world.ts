/** Undoes what the function that returned it did; calling it again does nothing. */
export type Release = () => void

/** The outside world as the core sees it. Tests pass another one. */
export interface World {
  /** Monotonic time in milliseconds. */
  now(): number
  /** Calls `run` once after `ms` milliseconds, unless released before. Keeps the process alive, unless it is `idle`. */
  timer(ms: number, run: () => void, idle?: 'idle'): Release
  /** A number in [0, 1). */
  random(): number
}

/** The real clock and the real dice. */
export const realWorld: World = {
  now: () => performance.now(),
  timer(ms, run, idle) {
    // A larger delay than 2^31 - 1 ms would fire at once
    const timer = setTimeout(run, Math.min(Math.max(0, ms), 2_147_483_647))
    if (idle) timer.unref()
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
}

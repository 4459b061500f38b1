import type { Release, World } from '../base/world.ts'

/** In how many parts a limit is waited for. */
const PARTS = 4

/**
 * How long what is late may still be heard, in milliseconds. When this process or the whole machine was suspended, timers
 * fire before what has come meanwhile is read.
 */
export const LAST_WORD = 100

/** By how much a part must be late to tell a suspended process from a busy one, in milliseconds. */
const SUSPENDED = 1_000

/** What a limit asks, and whom it tells. */
export interface Limited {
  readonly world: World
  /** Is a debugger attached? Then the time is a person's, and begins anew. */
  isDebugged(): boolean
  /** The time is over. Once. */
  late(): void
}

/**
 * Calls `late` after so many milliseconds, unless released before. They are waited for in four parts, and a part in which this process
 * was suspended, or the whole machine, is waited for again: those who were to be in time were suspended as well.
 *
 * ```
 *  ├─ part ─┼─ part ─┼─ part ─┼─ part ─┼ last word ┤ late
 *      ▲ └─ suspended: once more
 *      └─── debugged: from the beginning
 * ```
 */
export function limit(ms: number, { world, isDebugged, late }: Limited): Release {
  let release: Release = () => {}
  const wait = (part: number): void => {
    if (part > PARTS) return late()
    const length = part < PARTS ? ms / PARTS : LAST_WORD
    const since = world.now()
    release = world.timer(length, () => {
      const lateness = world.now() - since - length
      if (isDebugged()) wait(0)
      else wait(lateness > Math.max(length, SUSPENDED) ? part : part + 1)
    })
  }
  wait(0)
  return () => release()
}

import { realWorld, type World } from '../../src/base/world.ts'

/** A world whose clock runs so many times as fast: what takes seconds by rule takes moments in a test. */
export function fastWorld(times: number): World {
  return {
    now: () => realWorld.now() * times,
    timer: (ms, run) => realWorld.timer(ms / times, run),
    random: realWorld.random,
  }
}

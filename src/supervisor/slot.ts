import type { Release, World } from '../base/world.ts'
import { Backoff } from './backoff.ts'
import type { Worker } from './worker.ts'

/** A place for a worker: at most one is ready in it for long, and one more starts or stops. */
export class Slot {
  readonly workers: Set<Worker> = new Set()
  readonly #backoff = new Backoff()
  /** Until when nothing is started in it, since the last one died. */
  waits: Release | undefined = undefined

  /** Starts one, or has one that serves? */
  get isFilled(): boolean {
    return [...this.workers].some(isAlive)
  }

  /** One has died at this age, in milliseconds: `then` is called when another may be started, unless that is at once. */
  died(age: number, world: World, then: () => void): void {
    const wait = this.#backoff.died(age, world.random())
    if (wait === 0) return
    this.waits = world.timer(wait, () => {
      this.waits = undefined
      then()
    })
  }

  /** It waits no longer. */
  release(): void {
    this.waits?.()
    this.waits = undefined
  }
}

/** Does it start, or serve? */
export function isAlive({ state }: Worker): boolean {
  return state === 'starting' || state === 'ready'
}

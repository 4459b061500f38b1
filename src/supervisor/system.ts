import type { Emit } from '../base/events.ts'
import type { World } from '../base/world.ts'
import type { RecyclingLimits } from './recycling.ts'
import type { Child, WorkerLimits } from './worker.ts'

/** What a supervisor needs of the operating system. */
export interface System {
  readonly world: World
  /** Starts the process of a worker, one of so many, or of the stub that stands in for them. */
  spawn(place: { slot: number; generation: number; workers: number; isStub?: boolean }): Child
  /** Gives up the listening socket: what the workers hold of it is all that is left. */
  release(): void
}

/** How a service is supervised. Times are in milliseconds. */
export interface SupervisorOptions extends WorkerLimits {
  /** How many workers there are, at least 1. */
  readonly workers: number
  /** When a worker has served long enough. @default never */
  readonly recycling?: RecyclingLimits
  readonly emit: Emit
  /**
   * Whoever writes the code is there: new workers start when the old ones have gone, and where one cannot start or has died, none is
   * started until the next restart. @default false
   */
  readonly development?: boolean | undefined
}

/** What came of it. */
export interface SupervisorReport {
  /** 0: every worker that was stopped has ended with 0. 2: wrong use, as the first worker has said. */
  readonly code: 0 | 1 | 2
}

import { url as inspectorUrl } from 'node:inspector'
import { monitorEventLoopDelay, performance, type EventLoopUtilization } from 'node:perf_hooks'
import type { FromWorker } from '../supervisor/messages.ts'
import type { ServiceRun } from '../service/run.ts'

/** How often the delay of the event loop is sampled, in milliseconds; each sample wakes the process. */
const EVERY = 100

/** Of how many samples a percentile is taken, about. */
const SAMPLES = 100

/** Of a service without an app, which listens nowhere. */
const NOTHING = { served: 0, connections: 0, underWay: 0, oldest: 0 }

/** How this process does: measured between two beats. Samples until the process ends. */
export class Vitals {
  readonly #delays = monitorEventLoopDelay({ resolution: EVERY })
  /** At first, the beginning of the process. */
  #loop: EventLoopUtilization = { idle: 0, active: 0, utilization: 0 }

  constructor() {
    this.#delays.enable()
  }

  /** What is told of a run at this moment. */
  beat({ load }: ServiceRun): Extract<FromWorker, { t: 'beat' }> {
    const { heapUsed: heap, rss } = process.memoryUsage()
    const figures = { ...(load ?? NOTHING), busy: this.#busy(), delay: this.#delay(), heap, rss }
    return { t: 'beat', figures, inspected: inspectorUrl() !== undefined }
  }

  #busy(): number {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, this.#loop)
    this.#loop = now
    return Math.round(utilization * 1_000) / 1_000
  }

  /** Node counts the whole time between two samples. */
  #delay(): number {
    const delays = this.#delays
    const late = Math.max(0, delays.percentile(99) / 1e6 - EVERY)
    if (delays.count >= SAMPLES) delays.reset()
    return Math.round(late * 10) / 10
  }
}

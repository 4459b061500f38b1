import type { OfWorker, ServiceEvent } from '../base/events.ts'
import type { World } from '../base/world.ts'

/** Where a slot of a supervised service is: what its worker does, or `down` while none lives in it. */
export type SlotState = 'starting' | 'ready' | 'stopping' | 'down'

/** One worker, or one slot without any. */
export interface WorkerStatus {
  readonly slot: number
  readonly state: SlotState
  /** These three are there while a process lives. */
  readonly pid?: number
  readonly generation?: number
  /** Milliseconds since it was spawned. */
  readonly age?: number
  /** How many workers of this slot have died without being asked to stop. */
  readonly restarts: number
  /** What it holds of the machine's memory, in bytes, where the system tells. */
  readonly rss?: number
}

/** A supervised service as `steward status` shows it. */
export interface Status {
  /** The module that is served. */
  readonly service: string
  /** The supervisor's. */
  readonly pid: number
  /** Where it listens first of all; empty until that is known. */
  readonly url: string
  /** Everywhere it listens. */
  readonly urls: readonly string[]
  readonly state: 'starting' | 'running' | 'stopping' | 'closed'
  /** When the supervisor was started, as ISO 8601. */
  readonly since: string
  /** The same in milliseconds. */
  readonly age: number
  /** How many workers there should be. */
  readonly target: number
  /** The newest code that was asked for. */
  readonly generation: number
  /** The reload that is under way. */
  readonly rolling: { readonly generation: number; readonly age: number } | undefined
  /** Why the newest code does not run everywhere. */
  readonly failed: { readonly generation: number; readonly reason: string } | undefined
  readonly workers: readonly WorkerStatus[]
}

/** How a reload has ended. */
export type RollResult = { readonly took: number } | { readonly failed: string }

/** A worker as its events tell of it. */
interface Observed extends OfWorker {
  state: SlotState
  readonly since: number
  wasReady: boolean
  /** Was it asked to stop? */
  asked: boolean
  /** Why the supervisor killed it. */
  killed?: string
}

/** What an observer knows from the beginning. */
export interface ObserverOptions {
  readonly service: string
  readonly pid: number
  readonly world: World
  /** How much memory a process holds, in bytes, if that can be known. */
  memoryOf(pid: number): number | undefined
}

/** Follows what a supervisor tells, and knows at any time how its service is and how its reloads have ended. */
export class Observer {
  readonly #options: ObserverOptions
  readonly #since: number
  readonly #workers = new Map<number, Observed>()
  readonly #deaths = new Map<number, number>()
  readonly #urls: string[] = []
  readonly #waiting = new Set<(result: RollResult) => void>()
  #state: Status['state'] = 'starting'
  #generation = 1
  #roll: { generation: number; since: number } | undefined
  /** Why the last worker that never became ready did not. */
  #lastFailure = 'a worker did not become ready'
  #failed: Status['failed']

  constructor(options: ObserverOptions) {
    this.#options = options
    this.#since = options.world.now()
  }

  /** The newest code that was asked for. */
  get generation(): number {
    return this.#generation
  }

  /** Everything, at this moment. */
  status(target: number): Status {
    const { service, pid } = this.#options
    const age = this.#ageOf(this.#since)
    return {
      service,
      pid,
      url: this.#urls[0] ?? '',
      urls: [...this.#urls],
      state: this.#state,
      since: new Date(Date.now() - age).toISOString(),
      age,
      target,
      generation: this.#generation,
      rolling: this.#rolling(),
      failed: this.#failed,
      workers: this.#slots(this.#state === 'stopping' || this.#state === 'closed' ? 0 : target),
    }
  }

  /** The end of the reload that is begun next: a newer one that takes its place counts for it. */
  nextRoll(): Promise<RollResult> {
    return new Promise((tell) => this.#waiting.add(tell))
  }

  /** Takes what the supervisor tells. */
  readonly follow = (event: ServiceEvent): void => {
    if (event.type.startsWith('worker.')) this.#followWorker(event)
    else this.#followService(event)
  }

  #followService(event: ServiceEvent): void {
    switch (event.type) {
      case 'supervisor.listening':
        this.#urls.push(event.url)
        return
      case 'roll.started':
        this.#generation = event.generation
        this.#roll = { generation: event.generation, since: this.#options.world.now() }
        return
      case 'roll.ended':
        this.#failed = undefined
        return this.#endRoll({ took: event.took })
      case 'roll.failed':
        this.#failed = { generation: event.generation, reason: this.#lastFailure }
        return this.#endRoll({ failed: this.#lastFailure })
      case 'supervisor.stopping':
        this.#state = 'stopping'
        return this.#endRoll({ failed: `the service stops (${event.reason})` })
      case 'supervisor.closed':
        this.#state = 'closed'
        return
      default:
    }
  }

  #followWorker(event: ServiceEvent): void {
    if (event.type === 'worker.starting') return this.#add(event)
    const worker = 'pid' in event ? this.#workers.get(event.pid) : undefined
    if (!worker) return
    switch (event.type) {
      case 'worker.ready':
        worker.state = 'ready'
        worker.wasReady = true
        if (this.#state === 'starting') this.#state = 'running'
        return
      case 'worker.stopping':
        worker.asked = true
        worker.state = 'stopping'
        return
      case 'worker.dying':
        worker.state = 'stopping'
        return
      case 'worker.killed':
        if (event.doing === 'starting') worker.killed = notReady(event.after)
        return
      case 'worker.gone':
        return this.#remove(worker, event.cause)
      default:
    }
  }

  #add({ slot, pid, generation }: OfWorker): void {
    const since = this.#options.world.now()
    const beginning = { state: 'starting', since, wasReady: false, asked: false } as const
    this.#workers.set(pid, { slot, pid, generation, ...beginning })
  }

  #remove(worker: Observed, cause: string): void {
    const { slot, pid, generation, killed, wasReady, asked } = worker
    this.#workers.delete(pid)
    if (!wasReady) this.#lastFailure = `worker ${slot} (process ${pid}): ${killed ?? cause}`
    const failsRoll = !wasReady && this.#roll?.generation === generation
    // It is not replaced then: the old one goes on
    if (!asked && !failsRoll) this.#deaths.set(slot, (this.#deaths.get(slot) ?? 0) + 1)
  }

  #endRoll(result: RollResult): void {
    this.#roll = undefined
    for (const tell of this.#waiting) tell(result)
    this.#waiting.clear()
  }

  #rolling(): Status['rolling'] {
    if (!this.#roll) return undefined
    const { generation, since } = this.#roll
    return { generation, age: this.#ageOf(since) }
  }

  #slots(target: number): WorkerStatus[] {
    const alive = [...this.#workers.values()].map((worker) => this.#alive(worker))
    const taken = new Set(alive.map(({ slot }) => slot))
    const empty = Array.from({ length: target }, (_, slot) => slot)
      .filter((slot) => !taken.has(slot))
      .map((slot) => ({ slot, state: 'down' as const, restarts: this.#deaths.get(slot) ?? 0 }))
    return [...alive, ...empty].toSorted((one, other) => one.slot - other.slot)
  }

  #alive({ slot, pid, generation, state, since }: Observed): WorkerStatus {
    const restarts = this.#deaths.get(slot) ?? 0
    const rss = this.#options.memoryOf(pid)
    const known = { slot, state, pid, generation, age: this.#ageOf(since), restarts }
    return rss === undefined ? known : { ...known, rss }
  }

  #ageOf(since: number): number {
    return Math.round(this.#options.world.now() - since)
  }
}

function notReady(after: number): string {
  return `it was not ready within ${Math.round(after / 1_000)} s, and was killed`
}

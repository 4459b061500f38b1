import type { OfWorker } from '../base/events.ts'
import type { Release } from '../base/world.ts'
import { causeOf } from './cause.ts'
import type { Figures, StopKind, Whereabouts } from './messages.ts'
import { Recycling } from './recycling.ts'
import { isAlive, Slot } from './slot.ts'
import { Stub } from './stub.ts'
import type { SupervisorOptions, SupervisorReport, System } from './system.ts'
import { Worker, type Exit, type Killing, type WorkerListener } from './worker.ts'

/** How long no worker must be ready until a stub answers, in milliseconds; in development none that could become ready is enough. */
const STUB_AFTER = 5_000

/**
 * Where it is:
 *
 * ```
 *  starting ── a first worker is ready ──▶ running ── stop() ──▶ stopping ── the last worker is gone ──▶ closed
 *   ▲  │                                      │                    ▲
 *   │  └── a worker's start fails, or stop() ─┼────────────────────┘
 *   └────────── restart(), in development ────┘
 * ```
 *
 * In development a start that fails ends nothing: it waits for the next `restart()`.
 */
export type SupervisorState = 'starting' | 'running' | 'stopping' | 'closed'

/**
 * Keeps workers running on one listening socket, which it never accepts on and never closes between two of them: while none is
 * alive, connections wait in the kernel's queue. Everything that happens leads to one look at what should be and what is (`#look`), which
 * starts and stops what is missing and too much.
 */
export class Supervisor implements WorkerListener {
  readonly #system: System
  readonly #options: SupervisorOptions
  readonly #recycling: Recycling
  readonly #slots: Slot[] = []
  readonly #closed = Promise.withResolvers<SupervisorReport>()
  #state: SupervisorState = 'starting'
  #target: number
  /** The newest code: each roll has its own number. */
  #generation = 1
  /** The roll that is under way. */
  #roll: { generation: number; since: number } | undefined = undefined
  #code: 0 | 1 | 2 = 0
  readonly #stub: Stub
  /** Is no worker to be started for now? */
  #isPaused = false
  /** When its stop began. */
  #stopped = 0

  constructor(system: System, options: SupervisorOptions) {
    this.#system = system
    this.#options = options
    this.#target = options.workers
    const { recycling = {}, boot, grace, emit, development } = options
    this.#recycling = new Recycling(recycling, { world: system.world, emit })
    this.#stub = new Stub({
      spawn: () => system.spawn({ ...this.#place(-1), isStub: true }),
      after: development ? 0 : STUB_AFTER,
      limits: { boot, grace, hang: 0 },
      world: system.world,
      emit,
      gone: () => this.#look(),
    })
  }

  get state(): SupervisorState {
    return this.#state
  }

  /** Not before there is anything to replace; in development a start that has failed waits for it. */
  get mayReload(): boolean {
    return this.#state === 'running' || (this.#state === 'starting' && !!this.#options.development)
  }

  /** How many workers there should be. */
  get target(): number {
    return this.#target
  }

  /** Every worker that has a process. */
  get workers(): readonly Worker[] {
    return this.#slots.flatMap(({ workers }) => [...workers])
  }

  /** Ends every process at once. */
  kill(): void {
    for (const worker of [...this.workers, ...this.#stub.workers]) worker.kill()
  }

  /** How long its stop has taken so far, in milliseconds; 0 before it. */
  get stopTook(): number {
    return this.#stopped === 0 ? 0 : this.#system.world.now() - this.#stopped
  }

  /** Resolves when the last worker is gone, after a stop or a failed start. */
  get closed(): Promise<SupervisorReport> {
    return this.#closed.promise
  }

  /** Starts a worker; with the first that is ready, the others: what cannot start says so once. */
  start(): void {
    this.#look()
  }

  /** Replaces every worker by one with the newest code, one after the other; a second call while one runs ends with the newest code, too. */
  restart(reason: string): void {
    if (this.#state === 'stopping' || this.#state === 'closed') return
    this.#generation++
    this.#roll = { generation: this.#generation, since: this.#system.world.now() }
    this.#options.emit({ type: 'roll.started', generation: this.#generation, reason })
    if (this.#options.development) this.#startOver()
    this.#look()
  }

  /** Starts no worker until `resume()`; what stops meanwhile goes on. */
  pause(): void {
    this.#isPaused = true
  }

  /** Starts what is missing. */
  resume(): void {
    this.#isPaused = false
    this.#look()
  }

  /** In development: the newest code gets its chance, one worker first, when the last old one has gone. */
  #startOver(): void {
    if (this.#state === 'running') this.#state = 'starting'
    for (const slot of this.#slots) slot.release()
    this.#stopAll('roll', 'it is reloaded')
  }

  /** From now on there are so many workers; at least one. Gives why not, if it is refused. */
  scale(workers: number): string | undefined {
    const [name] = this.#exclusive
    if (name !== undefined && workers > 1) {
      return `Cannot scale to ${workers} workers: "${name}" is exclusive, only one process may hold it`
    }
    this.#target = Math.max(1, workers)
    this.#look()
    return undefined
  }

  /** One more, or one fewer. What is refused is told as a warning. */
  scaleBy(change: 1 | -1): void {
    const message = this.scale(this.#target + change)
    if (message !== undefined) this.#options.emit({ type: 'warning', message })
  }

  /** Stops all workers, in order. A second call does nothing. */
  stop(reason: string): void {
    if (this.#state === 'stopping' || this.#state === 'closed') return
    this.#state = 'stopping'
    this.#stopped = this.#system.world.now()
    this.#roll = undefined
    const { emit } = this.#options
    const graces = this.workers.map((worker) => worker.grace)
    const grace = graces.length > 0 ? Math.max(...graces) : this.#options.grace
    emit({ type: 'supervisor.stopping', reason, grace })
    // First: or the queue would fill while nobody accepts any more
    this.#system.release()
    this.#stopAll('stop', reason)
    this.#stub.stop('stop', reason)
    this.#look()
  }

  /** Cuts what is under way in them. */
  force(reason: string): void {
    this.stop(reason)
    if (this.#state === 'closed') return
    this.#options.emit({ type: 'supervisor.forced', reason })
    for (const worker of [...this.workers, ...this.#stub.workers]) worker.force(reason)
  }

  /** A supervisor that has lost its mind leaves nobody behind. */
  fail(error: unknown): void {
    this.#code = 1
    this.#options.emit({ type: 'error', message: 'The supervisor has failed', error })
    this.stop('failure')
  }

  loaded(worker: Worker): void {
    // It was scaled before anybody knew that it must not be
    if (worker.exclusive.length > 0 && this.#target > 1) this.#unscale()
    this.#look()
  }

  ready(worker: Worker): void {
    this.#options.emit({ type: 'worker.ready', ...named(worker), took: worker.age })
    if (this.#state === 'starting') this.#state = 'running'
    const others = [...this.#slots[worker.slot]!.workers].filter((other) => other !== worker)
    for (const other of others) this.#relieve(other, worker)
    this.#look()
  }

  /** A successor of it is ready. One that hangs cannot stop in order. */
  #relieve(worker: Worker, { generation }: Worker): void {
    worker.killHung()
    if (worker.generation < generation) this.#stop(worker, 'roll', 'a newer one is ready')
    else this.#stop(worker, 'retire', `retired: ${worker.retirement}`)
  }

  beat(worker: Worker, figures: Figures): void {
    const reason = this.#recycling.reasonFor(worker, figures)
    if (reason !== undefined) this.retiring(worker, reason)
  }

  /** Once, and while it serves: it goes on until its successor is ready. */
  retiring(worker: Worker, reason: string): void {
    if (worker.state !== 'ready' || worker.retirement || this.#state === 'stopping') return
    worker.retirement = reason
    this.#options.emit({ type: 'worker.retiring', ...named(worker), reason })
    if (this.#options.development) this.#stop(worker, 'retire', `retired: ${reason}`)
    this.#look()
  }

  hung(worker: Worker, after: number, where: Whereabouts): void {
    const told = { ...named(worker), after, underWay: worker.figures?.underWay ?? 0, stack: '' }
    this.#options.emit({ type: 'worker.hung', ...told, ...where })
    this.#died(worker)
    this.#look()
  }

  dying(worker: Worker, reason: string): void {
    this.#options.emit({ type: 'worker.dying', ...named(worker), reason })
    this.#died(worker)
    this.#look()
  }

  killed(worker: Worker, how: Killing): void {
    if (this.#state === 'stopping') this.#code = 1
    this.#options.emit({ type: 'worker.killed', ...named(worker), ...how })
  }

  gone(worker: Worker, exit: Exit): void {
    this.#slots[worker.slot]!.workers.delete(worker)
    if (exit.code !== 0 && this.#state === 'stopping') this.#code ||= 1
    const { code, signal } = exit
    const told = { age: worker.age, code, signal, cause: causeOf(worker, exit) }
    this.#options.emit({ type: 'worker.gone', ...named(worker), ...told })
    if (!worker.wasExpected) this.#lost(worker, exit)
    this.#look()
  }

  /** One has ended that neither was asked to stop nor had said that it does. */
  #lost(worker: Worker, { code }: Exit): void {
    if (this.#state === 'starting' && !this.#options.development) {
      // Before anything has run nothing is lost by ending, and the error would only come again
      this.#code = code === 2 ? 2 : 1
      return this.stop('the first worker could not start')
    }
    if (this.#roll?.generation === worker.generation && !worker.wasReady) this.#endRoll('failed')
    this.#died(worker)
  }

  /** The slot of a worker that died gets another: at once, unless one has died there lately. */
  #died({ slot: index, age }: Worker): void {
    const slot = this.#slots[index]!
    if (this.#options.development) {
      slot.waits = FOR_A_CHANGE
      return
    }
    const stays = (other: Worker): boolean => isAlive(other) && !other.retirement
    const isMissed = index < this.#target && ![...slot.workers].some(stays)
    if (this.#state !== 'running' || !isMissed) return
    slot.died(age, this.#system.world, () => this.#look())
  }

  #endRoll(how: 'ended' | 'failed'): void {
    const { generation, since } = this.#roll!
    this.#roll = undefined
    const took = this.#system.world.now() - since
    if (how === 'ended') this.#options.emit({ type: 'roll.ended', generation, took })
    else this.#options.emit({ type: 'roll.failed', generation, took })
  }

  /** What only one process may hold, as the workers say that live. */
  get #exclusive(): readonly string[] {
    return this.workers.find(({ exclusive }) => exclusive.length > 0)?.exclusive ?? []
  }

  #unscale(): void {
    const target = this.#target
    this.#target = 1
    const message = `There is one worker and not ${target}: "${this.#exclusive[0]}" is exclusive, only one process may hold it`
    this.#options.emit({ type: 'warning', message })
  }

  /** Compares what should be with what is. */
  #look(): void {
    if (this.#state === 'closed') return
    if (this.#state === 'stopping') return this.#lookForEnd()
    if (this.#mayStart()) this.#lookAtSlots()
    this.#stub.look(this.#needsStub())
  }

  #lookAtSlots(): void {
    const wanted = this.#state === 'starting' ? 1 : this.#target
    while (this.#slots.length < wanted) this.#slots.push(new Slot())
    for (const [index, slot] of this.#slots.entries()) {
      if (index >= wanted) this.#empty(slot)
      else if (!slot.waits && !slot.isFilled) this.#start(index)
    }
    for (const worker of this.workers) if (worker.isWaiting) this.#lookAtLoaded(worker)
    this.#replace()
  }

  /** In development the resources of the old ones must be free. */
  #mayStart(): boolean {
    if (this.#isPaused) return false
    const isNewest = ({ generation, state }: Worker): boolean =>
      generation === this.#generation && state !== 'stopping'
    return !this.#options.development || this.workers.every(isNewest)
  }

  /** Can nobody answer? Before the first worker was ready that ends everything, but in development. */
  #needsStub(): boolean {
    if (this.#options.development) {
      const isGivenUp = this.#slots.some(({ waits }) => waits === FOR_A_CHANGE)
      return isGivenUp && !this.workers.some(isAlive)
    }
    return this.#state === 'running' && !this.workers.some(({ state }) => state === 'ready')
  }

  /** What is loaded may open what it holds; what only one process may hold, when every other one is gone (R21). */
  #lookAtLoaded(worker: Worker): void {
    const others = worker.exclusive.length > 0 ? this.workers.filter((one) => one !== worker) : []
    if (others.length === 0) return worker.go()
    for (const other of others) {
      other.killHung()
      this.#stop(other, 'handover', 'a newer one waits for its end')
    }
  }

  #lookForEnd(): void {
    if (this.workers.length > 0 || this.#stub.workers.length > 0) return
    this.#state = 'closed'
    for (const slot of this.#slots) slot.release()
    const took = this.#system.world.now() - this.#stopped
    this.#options.emit({ type: 'supervisor.closed', clean: this.#code === 0, took })
    this.#closed.resolve({ code: this.#code })
  }

  /** One at a time: the next one starts when the last one is ready. A roll comes before those who have served long enough. */
  #replace(): void {
    const alive = this.workers.filter(isAlive)
    if (alive.some(({ state }) => state === 'starting')) return
    const wanted = alive.filter(({ slot }) => slot < this.#target && !this.#slots[slot]!.waits)
    const { generation = 0 } = this.#roll ?? {}
    const old = wanted.find((worker) => worker.generation < generation)
    if (old) return this.#start(old.slot)
    if (this.#roll && this.#slots.every(({ waits }) => !waits)) this.#endRoll('ended')
    const retiring = wanted.find(({ retirement }) => retirement)
    if (retiring) this.#start(retiring.slot)
  }

  #start(slot: number): void {
    // A roll that failed leaves its number behind: whatever dies then is replaced with what is there now
    const place = this.#place(slot)
    const { emit, ...limits } = this.#options
    const options = { listener: this, limits, world: this.#system.world }
    const worker = new Worker(place, this.#system.spawn(place), options)
    this.#slots[slot]!.workers.add(worker)
    emit({ type: 'worker.starting', ...named(worker) })
  }

  #place(slot: number): { slot: number; generation: number; workers: number } {
    return { slot, generation: this.#generation, workers: this.#target }
  }

  #empty(slot: Slot): void {
    slot.release()
    for (const worker of slot.workers) this.#stop(worker, 'scale', 'there are fewer workers')
  }

  #stopAll(kind: StopKind, reason: string): void {
    for (const worker of this.workers) this.#stop(worker, kind, reason)
  }

  #stop(worker: Worker, kind: StopKind, reason: string): void {
    const isAsked = worker.state === 'stopping' || worker.state === 'gone'
    if (!isAsked) this.#options.emit({ type: 'worker.stopping', ...named(worker), reason })
    worker.stop(kind, reason)
  }
}

/** A slot in which nothing is started until there is other code. */
const FOR_A_CHANGE: Release = () => {}

function named({ slot, pid, generation }: Worker): OfWorker {
  return { slot, pid, generation }
}

import { describeError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { realWorld } from '../base/world.ts'
import type { FromWorker, LoadedService, ToWorker, Whereabouts } from '../supervisor/messages.ts'
import type { Child, Exit } from '../supervisor/worker.ts'
import { Errand } from './errand-process.ts'
import type { Settlement } from './settlement.ts'
import type { Sockets } from './sockets.ts'

/** What a worker that is loaded may have to wait for. */
export interface AdmissionSettings {
  readonly sockets: Sockets
  readonly settlement: Settlement
  readonly emit: Emit
  /** Starts the process that runs `prepare`. */
  spawn(): Child
  /** It is known where the service listens. */
  listening(): void
  /** The start of a worker comes on. */
  progress(): void
}

/**
 * Lets workers go on that are loaded: the first when `prepare` has run, in a process of its own, and the place to listen on is certain.
 *
 * ```
 * due ── a worker may go on ──▶ running ── exit 0 ──▶ done ── again() ──▶ due
 *  ▲                               │
 *  └── it fails: that worker does not start; or again(): its code is not the newest
 * ```
 */
export class Admission {
  readonly settings: AdmissionSettings
  /** Has a process said itself why it does not start? */
  wasTold = false
  /** Why there is no place to listen on. */
  trouble: unknown = undefined
  #prepare: 'due' | 'running' | 'done' = 'due'
  #running: Promise<void> | undefined
  /** Is the place to listen on certain? */
  isCertain = false

  constructor(settings: AdmissionSettings) {
    this.settings = settings
  }

  /** The next worker that starts prepares the service once more. */
  again(): void {
    this.#prepare = 'due'
  }

  /** The process of a worker, which is let go on when it may. */
  of(child: Child): Child {
    return new Admitted(child, this)
  }

  /** Resolves when a worker may go on. @throws `Refused` when it may not */
  async admit(worker: Admitted, { prepares }: LoadedService): Promise<void> {
    this.checkPlace()
    if (!prepares) return
    // Of several that are started at a time one prepares
    while (this.#running) await this.#running.catch(() => {})
    if (this.#prepare === 'done') return
    this.#prepare = 'running'
    this.#running = this.#run(worker)
    let isDone = false
    try {
      await this.#running
      isDone = !worker.isStopped
    } finally {
      if (this.#prepare === 'running') this.#prepare = isDone ? 'done' : 'due'
      this.#running = undefined
    }
  }

  /** The service listens where its sockets are: from now on for certain. @throws `Refused` when there is no such place */
  checkPlace(): void {
    const { sockets, listening } = this.settings
    if (sockets.trouble !== undefined) {
      this.trouble = sockets.trouble
      throw new Refused(describeError(sockets.trouble), 1)
    }
    if (!this.isCertain) listening()
    this.isCertain = true
  }

  async #run(worker: Admitted): Promise<void> {
    const { emit, settlement, spawn } = this.settings
    const began = realWorld.now()
    const errand = new Errand(spawn(), settlement)
    worker.errand = errand
    emit({ type: 'prepare.started', pid: errand.pid })
    const { code, reason, hasSaid } = await errand.run(() => worker.progress())
    worker.errand = undefined
    const told = { pid: errand.pid, took: realWorld.now() - began }
    if (code !== 0) {
      this.wasTold ||= hasSaid
      emit({ type: 'prepare.failed', ...told, reason })
      throw new Refused(`prepare has failed: ${reason}`, code === 2 ? 2 : 1)
    }
    emit({ type: 'prepare.ended', ...told })
  }
}

/** Why a worker may not go on, and with which exit code its start has failed. */
class Refused extends Error {
  readonly code: 1 | 2

  constructor(message: string, code: 1 | 2) {
    super(message)
    this.code = code
  }
}

/** The process of a worker, and what is under way for it while it waits. */
export class Admitted implements Child {
  readonly #child: Child
  readonly #admission: Admission
  /** What is done for it at the moment. */
  errand: Errand | undefined
  #service: LoadedService | undefined
  #tell: (message: FromWorker) => void = () => {}
  /** Was it told to stop? */
  isStopped = false
  /** With which code its start has failed, in the place of its own. */
  #code: 1 | 2 | undefined
  /** What has to end before its end is told. */
  #underWay: Promise<void> | undefined

  constructor(child: Child, admission: Admission) {
    this.#child = child
    this.#admission = admission
  }

  get pid(): number {
    return this.#child.pid
  }

  send(message: ToWorker): void {
    if (message.t === 'go') return void (this.#underWay = this.#admit())
    this.isStopped = true
    this.errand?.send(message)
    this.#child.send(message)
  }

  whereabouts(): Promise<Whereabouts> {
    return this.#child.whereabouts()
  }

  isTraced(): boolean {
    return this.#child.isTraced()
  }

  kill(): void {
    this.errand?.kill()
    this.#child.kill()
  }

  onMessage(listener: (message: FromWorker) => void): void {
    this.#tell = listener
    this.#child.onMessage((message) => this.#hear(message))
  }

  onExit(listener: (exit: Exit) => void): void {
    this.#child.onExit((exit) => void this.#ended(exit, listener))
  }

  /** Something has been done for it: it gets more time. */
  progress(): void {
    this.#admission.settings.progress()
    this.#tell({ t: 'progress' })
  }

  #hear(message: FromWorker): void {
    if (message.t === 'elsewhere') return void (this.#underWay = this.#move(message.port))
    if (message.t === 'loaded') {
      this.#service = message
      this.#admission.settings.settlement.grace = message.grace
    }
    if (message.t === 'failed') this.#admission.wasTold = true
    if (message.t === 'progress') this.#admission.settings.progress()
    if (message.t === 'journal') this.#admission.settings.settlement.opened(message.folder)
    this.#tell(message)
  }

  async #admit(): Promise<void> {
    try {
      await this.#admission.admit(this, this.#service!)
      if (!this.isStopped) this.#child.send({ t: 'go' })
    } catch (error) {
      this.#refuse(error)
    }
  }

  /** It ends by itself; the next one listens there. */
  async #move(port: number): Promise<void> {
    try {
      await this.#admission.settings.sockets.move(port)
      this.#admission.checkPlace()
      this.#tell({ t: 'elsewhere', port })
    } catch (error) {
      this.#refuse(error)
    }
  }

  #refuse(error: unknown): void {
    this.#code = error instanceof Refused ? error.code : 1
    // One that is stopped is no failure
    if (!this.isStopped) this.#tell({ t: 'failed', reason: describeError(error) })
    this.#child.send({ t: 'stop', kind: 'stop', reason: 'its start has failed' })
  }

  async #ended(exit: Exit, tell: (exit: Exit) => void): Promise<void> {
    this.errand?.send({ t: 'stop', kind: 'stop', reason: 'its worker is gone' })
    await this.#underWay
    tell(this.#code === undefined ? exit : { code: this.#code, signal: null })
  }
}

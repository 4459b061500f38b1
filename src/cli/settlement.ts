import type { Emit, ServiceEvent } from '../base/events.ts'
import { realWorld } from '../base/world.ts'
import { reserveOf } from '../service/stages.ts'
import type { Child } from '../supervisor/worker.ts'
import { Errand } from './errand-process.ts'

/**
 * Has the notes settled that processes have left which died, where no worker follows that would do it (J2): in a process of its own,
 * since what settles them is code of the app.
 */
export class Settlement {
  readonly #spawn: () => Child
  readonly #emit: Emit
  /** How long a stop may take, as the service says, in milliseconds. */
  grace: number
  /** Where notes were left. */
  readonly #folders = new Set<string>()
  #hasLost = false
  #errand: Errand | undefined

  constructor({ spawn, emit, grace }: { spawn: () => Child; emit: Emit; grace: number }) {
    this.grace = grace
    this.#spawn = spawn
    this.#emit = emit
  }

  /** A process leaves notes in that folder. */
  opened(folder: string): void {
    this.#folders.add(folder)
  }

  /** A process that may have left notes has not ended in order. */
  lost(): void {
    this.#hasLost = true
  }

  /** Takes what the supervisor tells. */
  readonly follow = (event: ServiceEvent): void => {
    if (event.type === 'worker.gone' && event.cause !== '') this.lost()
  }

  /**
   * Settles what waits, if anything does, within what a stop that has taken so many milliseconds has left of its grace, and at least within
   * the close reserve. What is left then is settled at the next start.
   */
  async run(took: number): Promise<void> {
    if (!(await this.#isDue())) return
    const within = Math.max(reserveOf(this.grace), this.grace - took)
    const began = realWorld.now()
    const errand = new Errand(this.#spawn(), this)
    this.#errand = errand
    this.#emit({ type: 'settling.started', pid: errand.pid })
    const release = realWorld.timer(within, () => errand.kill())
    const { code } = await errand.run(() => {})
    release()
    const end = { took: realWorld.now() - began, clean: code === 0 }
    this.#emit({ type: 'settling.ended', pid: errand.pid, ...end })
  }

  /** Ends it at once. */
  kill(): void {
    this.#errand?.kill()
  }

  async #isDue(): Promise<boolean> {
    if (!this.#hasLost) return false
    const { notesWait } = await import('../service/state.ts')
    for (const folder of this.#folders) {
      try {
        if (await notesWait(folder, realWorld)) return true
      } catch (error) {
        const message = 'Nobody can tell whether ended processes have left notes'
        this.#emit({ type: 'error', message, error })
      }
    }
    return false
  }
}

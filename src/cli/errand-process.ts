import type { ToWorker } from '../supervisor/messages.ts'
import type { Child } from '../supervisor/worker.ts'

/** Who wants to know whether notes may wait. */
export interface Notes {
  opened(folder: string): void
  lost(): void
}

/** A short process that does one thing for a service. */
export class Errand {
  readonly #child: Child
  readonly #notes: Notes

  constructor(child: Child, notes: Notes) {
    this.#child = child
    this.#notes = notes
  }

  get pid(): number {
    return this.#child.pid
  }

  send(message: ToWorker): void {
    this.#child.send(message)
  }

  kill(): void {
    this.#child.kill()
  }

  /** Resolves when it has ended. `progress` is called with each step that it has done. */
  run(progress: () => void): Promise<{ code: number | null; reason: string }> {
    const { promise, resolve } = Promise.withResolvers<{ code: number | null; reason: string }>()
    let reason = ''
    this.#child.onMessage((message) => {
      if (message.t === 'progress') progress()
      else if (message.t === 'failed') reason = message.reason
      else if (message.t === 'journal') this.#notes.opened(message.folder)
    })
    this.#child.onExit(({ code, signal, error }) => {
      if (code !== 0) this.#notes.lost()
      const end = error ?? (signal === null ? `exit code ${code}` : `ended by ${signal}`)
      resolve({ code, reason: reason || end })
    })
    return promise
  }
}

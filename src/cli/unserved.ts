import type { Emit } from '../base/events.ts'
import { realWorld, type World } from '../base/world.ts'
import { leave } from '../service/leaving.ts'
import { exitCode, type Guarded } from '../service/signals.ts'
import { exitCodeOf, printFatal, type Form } from './fatal.ts'
import type { ServeCommand } from './options.ts'
import type { WorkerLink } from './worker.ts'

/** Where nobody is told what holds the process when it is left. */
export const NOWHERE: { emit: Emit; world: World } = { emit: () => {}, world: realWorld }

/** What the process is told while no service runs: before it has been loaded, and after it has closed. */
export class Unserved implements Guarded {
  readonly #command: ServeCommand
  readonly #form: Form
  /** To the supervisor, which is told what is wrong. */
  link: WorkerLink | undefined
  /** Was it asked to end before there was a service? */
  isEnding = false

  constructor(command: ServeCommand, form: Form) {
    this.#command = command
    this.#form = form
  }

  stop(name: string): void {
    this.isEnding = true
    leave(exitCode(name, this.#command), NOWHERE)
  }

  force(): void {}

  fail(error: unknown): void {
    // The import of a module that listens fails with this, too
    if (this.isEnding) return
    this.isEnding = true
    printFatal(error, this.#form)
    this.link?.failed(error)
    leave(exitCodeOf(error), NOWHERE)
  }
}

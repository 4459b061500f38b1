import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describeError, StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import type { Release, World } from '../base/world.ts'
import { clearPath, controlFolders, controlPath, takeFolder } from '../supervisor/control-place.ts'
import { Control } from '../supervisor/control.ts'
import { answer, type Controlled } from '../supervisor/requests.ts'
import { Observer } from '../supervisor/status.ts'

/** What is controlled, and where. */
export interface ControlSettings {
  /** The module, as it was given. */
  readonly module: string
  /** The path of the socket; `undefined` for the default one, `false` for none. */
  readonly path: string | false | undefined
  /** The next worker prepares the service once more. */
  prepare(): void
  readonly emit: Emit
  readonly world: World
}

/** The control of the service in this process: from before its supervisor exists to after its end. */
export class ServiceControl {
  readonly #settings: ControlSettings
  readonly #observer: Observer
  readonly #control: Control
  #supervisor: Controlled | undefined

  constructor(settings: ControlSettings) {
    const { module, world, prepare } = settings
    this.#settings = settings
    this.#observer = new Observer({ service: module, pid: process.pid, world, memoryOf })
    this.#control = new Control({
      world,
      answer: (line) =>
        answer(line, { supervisor: this.#supervisor!, observer: this.#observer, prepare }),
    })
  }

  /** Takes an event of the supervisor. */
  get follow(): Emit {
    return this.#observer.follow
  }

  /**
   * Opens the socket. A default place that cannot be used is a warning: a service is not kept from its work by that.
   *
   * @throws `ERR_BAD_OPTION` when the path that was asked for cannot be used
   */
  async open(supervisor: Controlled): Promise<Release> {
    const { path } = this.#settings
    this.#supervisor = supervisor
    if (path === false) return () => {}
    if (path === undefined) await this.#openDefault()
    else {
      const trouble = await this.#openAt(resolve(path))
      if (trouble !== undefined) throw cannotOpen(path, trouble)
    }
    return () => this.#control.close()
  }

  async #openDefault(): Promise<void> {
    const troubles: string[] = []
    for (const folder of controlFolders(process.env)) {
      const path = controlPath(folder, process.pid)
      const trouble = takeFolder(folder) ?? (await this.#openAt(path))
      if (trouble === undefined) return
      troubles.push(`${path}: ${trouble}`)
    }
    if (troubles.length === 0) return
    const message = `Cannot be controlled by steward status, reload, scale and stop: ${troubles.join('; ')}; --control names another path, --no-control is without`
    this.#settings.emit({ type: 'warning', message })
  }

  /** Gives what stands in the way, if anything does. */
  async #openAt(path: string): Promise<string | undefined> {
    try {
      const trouble = await clearPath(path)
      if (trouble === undefined) await this.#control.listen(path)
      return trouble
    } catch (error) {
      return describeError(error)
    }
  }
}

function cannotOpen(path: string, trouble: string): StewardError {
  return new StewardError(
    'ERR_BAD_OPTION',
    `Cannot open the control socket "${path}": ${trouble}; name another path, or none for the default one`,
  )
}

/** What a process holds of the machine's memory, in bytes; only Linux tells without a program that is asked. */
function memoryOf(pid: number): number | undefined {
  try {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!
    return Number(kilobytes) * 1_024
  } catch {
    // Another system, or it has just ended
    return undefined
  }
}

import { StewardError } from '../base/errors.ts'
import { findService, type Asking, type Which } from './ask.ts'
import { exitCodeOf, printFatal, survivePipes } from './fatal.ts'

/** The options of `steward reload`. */
export interface ReloadCommand extends WaitCommand {
  /** Have the service prepared once more, with the newest code, before its first new worker opens anything. */
  readonly prepare?: boolean
}

/** The options of `steward reload` and `steward stop`. */
export interface WaitCommand extends Which {
  readonly wait?: boolean
}

/** `steward reload`: replaces the workers one after the other. With `wait`, exits with 1 when the new code did not start. */
export function reload({ wait = false, prepare, ...which }: ReloadCommand): Promise<void> {
  return order(which, 'reload', async (service) => {
    const also = prepare === undefined ? {} : { prepare }
    const { generation, took } = await service.ask({ do: 'reload', wait, ...also })
    if (took === undefined) return `reloading, to generation ${generation}`
    return `reloaded in ${(took / 1_000).toFixed(1)} s, now generation ${generation}`
  })
}

/** `steward scale`: from now on there are so many workers. */
export function scale(to: number, which: Which): Promise<void> {
  return order(which, 'scale', async (service) => {
    const { workers } = await service.ask({ do: 'scale', to })
    return `scaling to ${workers} ${workers === 1 ? 'worker' : 'workers'}`
  })
}

/** `steward stop`: stops the service in order. With `wait`, until its process is gone; exits with 1 when it was not clean. */
export function stop({ wait = false, ...which }: WaitCommand): Promise<void> {
  return order(which, 'stop', async (service) => {
    const { clean } = await service.ask({ do: 'stop', wait })
    if (!wait) return 'stopping'
    await service.ended
    if (clean) return 'stopped'
    throw new StewardError(
      'ERR_CONTROL',
      'Cannot call the stop clean: something was cut, or did not close; the log of the service says what',
    )
  })
}

/** Asks the one service that is meant, and prints what came of it. Sets the exit code. */
async function order(
  which: Which,
  todo: string,
  ask: (service: Asking) => Promise<string>,
): Promise<void> {
  survivePipes()
  try {
    using service = await findService(which, todo)
    process.stdout.write(`${await ask(service)}\n`)
  } catch (error) {
    printFatal(error)
    process.exitCode = exitCodeOf(error)
  }
}

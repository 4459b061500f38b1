import { isStewardError } from '../base/errors.ts'
import { realWorld } from '../base/world.ts'
import type { Status } from '../supervisor/status.ts'
import { findServices, type Asking, type Which } from './ask.ts'
import { exitCodeOf, printFatal, survivePipes } from './fatal.ts'
import { statusTable } from './status-table.ts'

/** How often `--watch` looks, in milliseconds. */
const EVERY = 1_000

/** To the upper left corner, and from a place on to the end of the line or the screen. */
const HOME = '\x1b[H'
const CLEAR_LINE = '\x1b[K'
const CLEAR_REST = '\x1b[J'

/** The options of `steward status`. */
export interface StatusCommand extends Which {
  readonly json?: boolean
  readonly watch?: boolean
}

/** `steward status`: shows the service that is named, or every one of this user. Sets the exit code. */
export async function status(command: StatusCommand): Promise<void> {
  survivePipes()
  const services: Asking[] = []
  try {
    services.push(...(await findServices(command, 'show')))
    show(await statuses(services), command)
    while (command.watch) {
      await new Promise<void>((next) => realWorld.timer(EVERY, next))
      const left = await whileTheyRun(services)
      if (left.length === 0) break
      show(left, command)
    }
  } catch (error) {
    printFatal(error)
    process.exitCode = exitCodeOf(error)
  } finally {
    for (const one of services) one[Symbol.dispose]()
  }
}

function statuses(services: readonly Asking[]): Promise<Status[]> {
  return Promise.all(services.map(async (one) => (await one.ask({ do: 'status' })).status))
}

/** Those that run still: who watches a service to its end has seen no error. */
async function whileTheyRun(services: Asking[]): Promise<Status[]> {
  const found = await Promise.allSettled(services.map((one) => one.ask({ do: 'status' })))
  return found.flatMap((one) => {
    if (one.status === 'fulfilled') return [one.value.status]
    if (isStewardError(one.reason, 'ERR_CONTROL')) return []
    throw one.reason
  })
}

function show(all: readonly Status[], { json, watch }: StatusCommand): void {
  const { stdout } = process
  if (json) return void stdout.write(all.map((one) => `${JSON.stringify(one)}\n`).join(''))
  const text = all.map((one) => statusTable(one, stdout)).join('\n')
  if (!watch) return void stdout.write(text)
  if (!stdout.isTTY) return void stdout.write(`${text}\n`)
  // Drawn over what was there: a screen that is cleared first flickers
  stdout.write(`${HOME}${text.replaceAll('\n', `${CLEAR_LINE}\n`)}${CLEAR_REST}`)
}

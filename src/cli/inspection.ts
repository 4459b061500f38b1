import type inspector from 'node:inspector'
import { StewardError } from '../base/errors.ts'
import type { ServiceEvent } from '../base/events.ts'
import type { InspectorPlace } from '../supervisor/messages.ts'
import type { Child } from '../supervisor/worker.ts'

/** What was asked for on the command line. */
export interface InspectCommand {
  readonly inspect?: string
  readonly inspectBrk?: string
}

/** Where Node has its inspector when nobody says where. */
export const INSPECTOR = '127.0.0.1:9229'

const FLAG = /^--inspect(-brk|-wait)?(?:=(.*))?$/

/** Where the inspector is to be: as the command says, or as Node was told. @throws `ERR_BAD_OPTION` */
export function inspectorOf(
  { inspect, inspectBrk }: InspectCommand,
  { execArgv, env }: Pick<NodeJS.Process, 'execArgv' | 'env'>,
): InspectorPlace | undefined {
  if (inspectBrk !== undefined) return placeOf(inspectBrk, true)
  if (inspect !== undefined) return placeOf(inspect, false)
  const given = [...wordsOf(env), ...execArgv].flatMap((word) => FLAG.exec(word) ?? []).slice(-3)
  if (given.length === 0) return undefined
  return placeOf(given[2] || INSPECTOR, given[1] !== undefined)
}

/** The arguments and the environment without a word of inspectors: in no process are they to open one by themselves. */
export function withoutInspector({
  execArgv,
  env,
}: Pick<NodeJS.Process, 'execArgv' | 'env'>): Pick<NodeJS.Process, 'execArgv' | 'env'> {
  const isOther = (word: string): boolean => !FLAG.test(word)
  const rest = wordsOf(env).filter(isOther).join(' ')
  const isUntouched = wordsOf(env).every(isOther)
  const { NODE_OPTIONS: _, ...others } = env
  return {
    execArgv: execArgv.filter(isOther),
    env: isUntouched ? env : { ...others, ...(rest === '' ? {} : { NODE_OPTIONS: rest }) },
  }
}

function wordsOf({ NODE_OPTIONS = '' }: NodeJS.ProcessEnv): string[] {
  return NODE_OPTIONS.split(/\s+/).filter((word) => word !== '')
}

function placeOf(where: string, waits: boolean): InspectorPlace {
  const [, host = '127.0.0.1', port = ''] = /^(?:\[?([^\]]+?)\]?:)?(\d+)$/.exec(where) ?? []
  if (port !== '' && Number(port) <= 65_535) return { host, port: Number(port), waits }
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot open the inspector at "${where}": give a port, or host:port`,
  )
}

/**
 * Opens the inspector of this process; Node prints where it is. With `waits`, what follows runs only when a debugger is attached, and
 * stops in it.
 */
export function openInspector({ host, port, waits }: InspectorPlace): void {
  const node = inspectorModule()
  if (node.url() !== undefined) return
  node.open(port, host, waits)
  // oxlint-disable-next-line no-debugger -- here a debugger stops that has been waited for, with nothing of the app loaded
  if (waits) debugger
}

/** Not the supervisor is to be looked into: what Node has opened for it is for the first worker. */
export function closeInspector(): void {
  const node = inspectorModule()
  if (node.url() !== undefined) node.close()
}

/** Of no use to most supervisors, which live long and hold less without it. */
function inspectorModule(): typeof inspector {
  return process.getBuiltinModule('node:inspector')
}

/**
 * The inspectors of workers: each slot has a port of its own, the same over restarts. Where two workers of a slot live at a time, the
 * older one has it as long as it lives.
 */
export class Inspectors {
  readonly #first: InspectorPlace
  /** The process that has the port of a slot. */
  readonly #holders = new Map<number, number>()
  /** Who is to have it next. */
  readonly #next = new Map<number, Child>()

  constructor(first: InspectorPlace) {
    this.#first = first
  }

  /** Where a worker that is started in that slot opens its own; `undefined` as long as another has the port. */
  free(slot: number): InspectorPlace | undefined {
    return this.#holders.has(slot) ? undefined : this.#placeOf(slot)
  }

  /** A worker has been started there. */
  started(slot: number, child: Child): void {
    if (this.#holders.has(slot)) this.#next.set(slot, child)
    else this.#holders.set(slot, child.pid)
  }

  /** Takes what the supervisor tells. */
  readonly follow = (event: ServiceEvent): void => {
    if (event.type !== 'worker.gone') return
    const { slot, pid } = event
    const next = this.#next.get(slot)
    if (next?.pid === pid) this.#next.delete(slot)
    if (this.#holders.get(slot) !== pid) return
    this.#holders.delete(slot)
    if (!next || next.pid === pid) return
    this.#next.delete(slot)
    this.#holders.set(slot, next.pid)
    // It runs already: there is nothing to wait for
    next.send({ t: 'inspect', ...this.#placeOf(slot), waits: false })
  }

  #placeOf(slot: number): InspectorPlace {
    const { port, ...rest } = this.#first
    return { ...rest, port: port === 0 ? 0 : port + slot }
  }
}

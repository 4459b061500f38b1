import { describe } from '../base/errors.ts'
import type { Measured, Observer, Status } from './status.ts'
import type { SupervisorState } from './supervisor.ts'

/** What can be asked of a supervised service over its control socket: one JSON object a line. */
export type Request =
  | { readonly do: 'status' }
  /** With `wait`, the answer comes when the reload has ended; with `prepare`, the first new worker has the service prepared. */
  | { readonly do: 'reload'; readonly wait?: boolean; readonly prepare?: boolean }
  | { readonly do: 'scale'; readonly to: number }
  /** With `wait`, the answer comes when the last worker is gone. */
  | { readonly do: 'stop'; readonly wait?: boolean }

/** What a request that was done is answered with. */
export interface Done {
  readonly status: { readonly status: Status }
  /** Which code is to run, and, when it was waited for, how long that took, in milliseconds. */
  readonly reload: { readonly generation: number; readonly took?: number }
  readonly scale: { readonly workers: number }
  /** `clean` when it was waited for. */
  readonly stop: { readonly clean?: boolean }
}

/** The answer to each request: one JSON object a line. */
export type Answer =
  | ({ readonly ok: true } & Done[keyof Done])
  /** It was not done, or has failed: a sentence that says why. */
  | { readonly ok: false; readonly error: string }

/** What is controlled. */
export interface Controlled {
  readonly state: SupervisorState
  /** Would a reload do anything for it? */
  readonly mayReload: boolean
  readonly target: number
  readonly workers: readonly Measured[]
  readonly closed: Promise<{ readonly code: number }>
  restart(reason: string): void
  /** Gives why not, if it is refused. */
  scale(workers: number): string | undefined
  stop(reason: string): void
}

/** How many workers there may be. */
const MOST_WORKERS = 9_999

/** Which fields a request may have. */
const FIELDS: Readonly<Record<Request['do'], readonly string[]>> = {
  status: [],
  reload: ['wait', 'prepare'],
  scale: ['to'],
  stop: ['wait'],
}

/** What requests are about. */
interface Asked {
  readonly supervisor: Controlled
  readonly observer: Observer
  /** The next worker prepares the service once more. */
  prepare(): void
}

/** Does what a line asks for. Never throws: what is wrong with a request is its answer. */
export async function answer(line: string, to: Asked): Promise<Answer> {
  const request = parse(line)
  return 'error' in request ? { ok: false, ...request } : perform(request, to)
}

async function perform(request: Request, asked: Asked): Promise<Answer> {
  const { supervisor, observer } = asked
  if (request.do === 'status') {
    return { ok: true, status: observer.status(supervisor.target, supervisor.workers) }
  }
  if (request.do === 'stop') return stop(request, supervisor)
  const { state } = supervisor
  if (state === 'stopping' || state === 'closed') {
    return { ok: false, error: `Cannot ${request.do}: the service stops` }
  }
  if (request.do === 'reload') return reload(request, asked)
  const error = supervisor.scale(request.to)
  return error === undefined ? { ok: true, workers: request.to } : { ok: false, error }
}

async function reload(
  { wait, prepare }: { wait?: boolean; prepare?: boolean },
  { supervisor, observer, prepare: prepareNext }: Asked,
): Promise<Answer> {
  if (!supervisor.mayReload) {
    return { ok: false, error: 'Cannot reload: no worker is ready yet; try again when one is' }
  }
  const ended = observer.nextRoll()
  if (prepare) prepareNext()
  supervisor.restart('control')
  const { generation } = observer
  if (!wait) return { ok: true, generation }
  const result = await ended
  if (!('failed' in result)) return { ok: true, generation, took: Math.round(result.took) }
  return { ok: false, error: `Cannot reload: ${result.failed}` }
}

async function stop({ wait }: { wait?: boolean }, supervisor: Controlled): Promise<Answer> {
  supervisor.stop('control')
  if (!wait) return { ok: true }
  const { code } = await supervisor.closed
  return { ok: true, clean: code === 0 }
}

function parse(line: string): Request | { error: string } {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return { error: `Cannot read ${describe(line)}: it is no JSON; ${KNOWN}` }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { error: `Cannot read ${describe(value)}: a request is one JSON object; ${KNOWN}` }
  }
  return check(value as Record<string, unknown>)
}

const KNOWN = `ask with {"do":"…"}, which is one of ${Object.keys(FIELDS).join(', ')}`

function check({ do: what, ...fields }: Record<string, unknown>): Request | { error: string } {
  if (typeof what !== 'string' || !Object.hasOwn(FIELDS, what)) {
    return { error: `Cannot do ${describe(what)}: ${KNOWN}` }
  }
  const name = what as Request['do']
  const unknown = Object.keys(fields).find((field) => !FIELDS[name].includes(field))
  if (unknown !== undefined) {
    return { error: `Cannot ${name} with ${describe(unknown)}: there is no such field` }
  }
  const { to } = fields
  for (const field of ['wait', 'prepare']) {
    const value = fields[field]
    if (value === undefined || typeof value === 'boolean') continue
    return { error: `Cannot ${name} with ${describe(value)} as "${field}": give true or false` }
  }
  if (name === 'scale' && !isCount(to)) {
    const allowed = `give a whole number from 1 to ${MOST_WORKERS}`
    return { error: `Cannot scale to ${describe(to)}: ${allowed}` }
  }
  return { do: name, ...fields } as Request
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MOST_WORKERS
}

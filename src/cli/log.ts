import type { Writable } from 'node:stream'
import { inspect } from 'node:util'
import { blamesClient, withoutSecrets } from '../base/errors.ts'
import type { ServiceEvent } from '../base/events.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'

/**
 * Writes events as JSON lines: `time`, `level`, `event`, and the event's own fields. What a start, or a drain, waits for is
 * written once each. A worker says which one it is.
 */
export function jsonLog(
  output: Writable,
  worker?: { slot?: number; errand?: string; pid: number },
): (event: ServiceEvent) => void {
  const waited = new Set<string>()
  return (event) => {
    const { type, ...fields } = withPlainErrors(event)
    if (type === 'drain.waiting' || type === 'start.waiting') {
      if (waited.has(type)) return
      waited.add(type)
    }
    const time = new Date().toISOString()
    const line = { time, level: levelOf(event), event: type, ...worker, ...fields }
    output.write(`${withoutSecrets(JSON.stringify(line, tenths))}\n`)
  }
}

function levelOf(event: ServiceEvent): Level {
  switch (event.type) {
    case 'resource.opening':
    case 'resource.closing':
    case 'hook.started':
    case 'journal.opened':
      return 'debug'
    case 'warning':
    case 'resource.late':
    case 'hook.late':
    case 'process.held':
    case 'service.forced':
    case 'supervisor.forced':
    case 'stub.ready':
      return 'warn'
    case 'request.failed':
      return blamesClient(event.error) ? 'info' : 'error'
    case 'error':
    case 'resource.failed':
    case 'request.cut':
    case 'handler.abandoned':
    case 'worker.dying':
    case 'worker.hung':
    case 'worker.killed':
    case 'roll.failed':
    case 'prepare.failed':
      return 'error'
    case 'worker.gone':
    case 'stub.gone':
      return event.cause === '' ? 'info' : 'error'
    case 'supervisor.closed':
    case 'settling.ended':
    case 'service.closed':
      return event.clean ? 'info' : 'error'
    default:
      return 'error' in event && event.error !== undefined ? 'error' : 'info'
  }
}

/** Times to the tenth of a millisecond. */
function tenths(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Math.round(value * 10) / 10 : value
}

function withPlainErrors(event: ServiceEvent): ServiceEvent {
  if ('errors' in event) return { ...event, errors: event.errors.map((one) => plain(one)) }
  return 'error' in event ? { ...event, error: plain(event.error) } : event
}

/** How many causes lead on from an error at most: they may go in a circle. */
const DEPTH = 5

/** Anything may be thrown; of errors, what JSON leaves out is shown. */
function plain(thrown: unknown, depth = DEPTH): unknown {
  if (thrown === undefined) return undefined
  if (!(thrown instanceof Error)) return { message: inspect(thrown, { depth: 2 }) }
  const { name, message, stack, cause } = thrown
  const { code, errors } = thrown as { code?: unknown; errors?: unknown }
  const shown = code === undefined ? {} : { code: String(code) }
  if (depth === 0) return { name, message, ...shown, stack }
  const all = Array.isArray(errors) ? errors.map((one) => plain(one, depth - 1)) : []
  return {
    name,
    message,
    ...shown,
    stack,
    ...(cause === undefined ? {} : { cause: plain(cause, depth - 1) }),
    ...(all.length > 0 ? { errors: all } : {}),
  }
}

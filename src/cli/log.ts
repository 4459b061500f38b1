import type { Writable } from 'node:stream'
import type { ServiceEvent } from '../base/events.ts'

type Level = 'debug' | 'info' | 'warn' | 'error'

/** Writes events as JSON lines: `time`, `level`, `event`, and the event's own fields. What the drain waits for is written once. */
export function jsonLog(output: Writable): (event: ServiceEvent) => void {
  let waited = false
  return (event) => {
    if (event.type === 'drain.waiting') {
      if (waited) return
      waited = true
    }
    const { type, ...fields } = event
    const line = { time: new Date().toISOString(), level: levelOf(event), event: type, ...fields }
    output.write(`${JSON.stringify(line, plain)}\n`)
  }
}

function levelOf(event: ServiceEvent): Level {
  switch (event.type) {
    case 'resource.opening':
    case 'resource.closing':
    case 'hook.started':
      return 'debug'
    case 'warning':
    case 'resource.late':
    case 'hook.late':
    case 'process.held':
      return 'warn'
    case 'error':
    case 'resource.failed':
    case 'request.failed':
    case 'request.cut':
    case 'handler.abandoned':
      return 'error'
    case 'service.closed':
      return event.clean ? 'info' : 'error'
    default:
      return 'error' in event && event.error !== undefined ? 'error' : 'info'
  }
}

/** Errors with what is not enumerable in them; times to the tenth of a millisecond. */
function plain(_key: string, value: unknown): unknown {
  if (value instanceof Error) {
    const { name, message, stack, cause } = value
    const { code, errors } = value as { code?: unknown; errors?: readonly unknown[] }
    return { name, message, code, stack, ...(cause === undefined ? {} : { cause }), ...(errors?.length ? { errors } : {}) }
  }
  if (typeof value === 'number' && !Number.isInteger(value)) return Math.round(value * 10) / 10
  return typeof value === 'bigint' ? String(value) : value
}

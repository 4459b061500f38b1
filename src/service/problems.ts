import { blamesClient, describeError, isStewardError, withoutSecrets } from '../base/errors.ts'
import type { ServiceEvent } from '../base/events.ts'

/** Prints on stderr what goes wrong in a service that nobody listens to: an error must not get lost. */
export function problemPrinter(): (event: ServiceEvent) => void {
  let hasStarted = false
  return (event) => {
    hasStarted ||= event.type === 'service.ready'
    const problem = problemOf(event)
    // What fails at the start is thrown to whoever started it
    if (problem && (hasStarted || event.type === 'error')) print(problem)
  }
}

type Problem = readonly [message: string, error?: unknown]

function print([message, error]: Problem): void {
  process.stderr.write(withoutSecrets(`steward: ${message}\n${stackOf(error)}`))
}

/** In one sentence, and what was thrown. */
function problemOf(event: ServiceEvent): Problem | undefined {
  switch (event.type) {
    case 'warning':
      return [event.message]
    case 'error':
      return [event.message, event.error]
    case 'note.failed':
      return [
        `A note of "${event.name}" was not settled: ${describeError(event.error)}`,
        event.error,
      ]
    case 'request.failed':
      if (blamesClient(event.error)) return undefined
      return [`${event.method} ${event.url} failed: ${describeError(event.error)}`, event.error]
    case 'request.cut':
      return [
        `${event.method} ${event.url} was cut: ${event.answered ? 'it got a 503' : 'its response was not complete'}`,
      ]
    case 'handler.abandoned':
      return [`${event.method} ${event.url} was abandoned: its handler had not ended`]
    case 'process.held':
      return [
        `the process was held by ${event.by.join(', ')}: close it with the resource that made it`,
      ]
    case 'hook.ended':
    case 'resource.closed':
      return event.error === undefined ? undefined : [describeError(event.error), event.error]
    default:
      return undefined
  }
}

/** Of what user code threw; our own errors say what they mean without. */
function stackOf(error: unknown): string {
  const thrown = isStewardError(error) ? error.cause : error
  return thrown instanceof Error && thrown.stack ? `${thrown.stack.replaceAll(/^/gm, '  ')}\n` : ''
}

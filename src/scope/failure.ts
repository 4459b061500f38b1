import { isStewardError, StewardError } from '../base/errors.ts'
import type { Step } from './graph.ts'
import type { Scope } from './scope.ts'

/** An opener's own error, and which one it was. */
export class Failure {
  readonly step: Step
  readonly error: unknown

  constructor(step: Step, error: unknown) {
    this.step = step
    this.error = error
  }
}

/** Every error that a closing reported, in order. */
export function errorsOf(error: unknown): readonly unknown[] {
  return isStewardError(error, 'ERR_CLOSE') ? error.errors : [error]
}

/** One error is handed on as it is; several become one that has them all. */
export function closeFailure(scope: Scope, errors: readonly unknown[]): unknown {
  if (errors.length === 1) return errors[0]
  return new StewardError(
    'ERR_CLOSE',
    `Cannot close the ${scope.kind.name} scope cleanly: ${errors.length} of its closes failed; each is in "errors"`,
    { errors, cause: errors[0] },
  )
}

/** Did an opener that was asked to stop just say so? Then there is nothing to report. */
export function isAnswer(error: unknown, asked: unknown): boolean {
  if (asked === undefined) return false
  if (error === asked || !(error instanceof Error)) return error === asked
  return error.cause === asked || error.name === 'AbortError'
}

/** The error of using a scope that has ended. */
export function scopeClosed(scope: Scope, doing: string): StewardError {
  const now = scope.state === 'closing' ? 'is closing' : 'is closed'
  return new StewardError(
    'ERR_SCOPE_CLOSED',
    `Cannot ${doing}: the ${scope.kind.name} scope ${now}; do it before the scope ends, or in a scope of its own`,
  )
}

/** The error of an opening that its scope's closing ended. */
export function openAborted(step: Step): StewardError {
  return new StewardError(
    'ERR_OPEN_ABORTED',
    `Cannot open "${step.name}": its ${step.kind.name} scope is closing`,
  )
}

/** The error of an opener that outlived its openTimeout. */
export function openTimeout(step: Step, limit: number): StewardError {
  const stood = step.deps.map((dep) => `"${dep.step.name}"`).join(', ')
  return new StewardError(
    'ERR_OPEN_TIMEOUT',
    `Cannot open "${step.name}": it was not open after ${limit} ms${stood && ` (it stands on ${stood})`}; raise its openTimeout or see what it waits for`,
    { path: [step.name] },
  )
}

/** The error of an opener that does not heed its signal while its scope closes. */
export function openingUnstopped(name: string): StewardError {
  return new StewardError(
    'ERR_OPEN_TIMEOUT',
    `Cannot stop the opening of "${name}": it did not heed its signal; it is closed when it comes`,
    { path: [name] },
  )
}

/** The error of a close that outlived its limit. */
export function closeTimeout(name: string, after: number): StewardError {
  return new StewardError(
    'ERR_CLOSE_TIMEOUT',
    `Cannot wait for the close of "${name}": it was not closed after ${Math.round(after)} ms; raise its closeTimeout, or the graceful timeout, or see what it waits for`,
    { path: [name] },
  )
}

/** The error of a scope within that was closing already and outlived what its parent could give it. */
export function childTimeout(child: Scope): StewardError {
  const names = (child.held ?? []).map((held) => held.step.name)
  return new StewardError(
    'ERR_CLOSE_TIMEOUT',
    `Cannot wait for a ${child.kind.name} scope to close: ${names.map((name) => `"${name}"`).join(', ') || 'something in it'} takes longer than what is left of the budget; see what it waits for`,
    { path: names },
  )
}

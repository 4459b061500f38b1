import type { Deadline } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import { closeFailure, errorsOf, Failure, scopeClosed } from './failure.ts'
import { isWithin, type Kind } from './kind.ts'
import { notOk, type Fitting, type Ending, type Resources, type Values } from './resource.ts'
import type { Inputs, Scope } from './scope.ts'

/**
 * Opens what is wanted for one piece of work, in scopes of its own as far as it needs any, and closes them when the work
 * has settled. Resolves with what the work gave.
 *
 * @throws the work's own error, or an opener's; when closing failed too, `ERR_CLOSE` with the work's error first
 */
export interface Run {
  <const Wanted extends Resources, Result>(
    wanted: Wanted & Fitting<Wanted, 'app' | 'request' | 'handler', 'request', 'a piece of work'>,
    work: (values: Values<Wanted>) => Result,
  ): Promise<Awaited<Result>>
}

/** `run` from within any scope: enters one of its own when what is wanted lives shorter. */
export async function runIn<Result>(
  scope: Scope,
  wanted: Resources,
  work: (values: never) => Result,
): Promise<Awaited<Result>> {
  const plan = scope.root.graph.plan(wanted)
  const inner = enterTo(scope, plan.kind)
  const leave = beginWork(scope, inner)
  let result: Result
  try {
    const opening = inner.open(plan)
    if (opening) await opening
    result = work(inner.pick(plan) as never)
    if (isThenable(result)) result = await result
    if (inner.state !== 'open') throw scopeClosed(inner, 'finish the work')
  } catch (error) {
    leave?.()
    throw await endFailed(scope, inner, error instanceof Failure ? error.error : error)
  }
  leave?.()
  const ending = endTo(scope, inner, WELL)
  if (ending) await ending
  return result as Awaited<Result>
}

/** Whoever closes a scope around it waits for the work. What it returns ends that, where the scope's own end does not. */
function beginWork(scope: Scope, inner: Scope): Release | undefined {
  if (inner === scope) return scope.visit()
  inner.working = true
  return undefined
}

/** Work that is synchronous needs no turn of the microtask queue. */
function isThenable(result: unknown): result is PromiseLike<unknown> {
  return typeof result === 'object' && result !== null && 'then' in result
}

const WELL: Ending = { ok: true }

/** The scope of that kind for a piece of work: this one if it is inside already, else a new one, or several. */
export function enterTo(scope: Scope, kind: Kind, inputs?: Inputs): Scope {
  if (isWithin(scope.kind, kind)) return scope
  if (!isWithin(kind, scope.kind)) {
    throw new StewardError(
      'ERR_SCOPE_UNKNOWN',
      `Cannot open resources of the ${kind.name} inside a ${scope.kind.name} scope: it does not lie within it`,
    )
  }
  const parent = kind.parent === scope.kind ? scope : enterTo(scope, kind.parent!, inputs)
  return parent.enter(kind, parent === scope ? inputs : undefined)
}

/**
 * Ends the scopes that were entered on the way from `outer` to `inner`, innermost first. When a close fails, the scopes
 * around it do not end well; all errors are reported.
 */
export function endTo(outer: Scope, inner: Scope, ending: Ending): Promise<void> | undefined {
  if (inner.parent === outer) return inner.end(ending)
  return endWithin({ outer, inner, ending, limit: undefined })
}

/** What is to be ended, and how. */
export interface EndWithin {
  readonly outer: Scope
  readonly inner: Scope
  readonly ending: Ending
  readonly limit: Deadline | undefined
}

/** `endTo` with a limit. */
export function endWithin(given: EndWithin): Promise<void> | undefined {
  const { outer, inner, ending, limit } = given
  if (inner === outer) return undefined
  const ended = inner.end(ending, limit)
  const parent = inner.parent!
  if (parent === outer) return ended
  return ended ? endRest(ended, given) : endWithin({ ...given, inner: parent })
}

async function endRest(ended: Promise<void>, given: EndWithin): Promise<void> {
  // When the scope around them ends both, it has the errors of the inner one too
  const errors = new Set<unknown>()
  const keep = (error: unknown): void => errorsOf(error).forEach((one) => errors.add(one))
  await ended.catch(keep)
  const [first] = errors
  const ending = errors.size > 0 ? notOk(given.ending, first) : given.ending
  await endWithin({ ...given, inner: given.inner.parent!, ending })?.catch(keep)
  if (errors.size > 0) throw closeFailure(given.inner, [...errors])
}

async function endFailed(outer: Scope, inner: Scope, error: unknown): Promise<unknown> {
  try {
    await endTo(outer, inner, { ok: false, error })
    return error
  } catch (closeError) {
    return withCloseErrors(error, closeError)
  }
}

/** The error of the work, and after it those of the closing. */
export function withCloseErrors(error: unknown, closeError: unknown): StewardError {
  const closing = errorsOf(closeError)
  return new StewardError(
    'ERR_CLOSE',
    `Cannot end cleanly: the work failed, and ${closing.length} of its closes failed after it; each is in "errors"`,
    { errors: [error, ...closing], cause: error },
  )
}

import { StewardError } from '../base/errors.ts'
import { appKind, isWithin, requestKind, type Kind } from './kind.ts'
import type { Fitting, Ending, Resources, Values } from './resource.ts'
import { Failure, type Inputs, type Scope } from './scope.ts'

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

/** `run` from within any scope: enters one of its own, at least of the kind `within`. */
export async function runIn<Result>(
  scope: Scope,
  wanted: Resources,
  work: (values: never) => Result,
): Promise<Awaited<Result>> {
  const plan = scope.root.graph.plan(wanted)
  const inner = enterForWork(scope, plan.kind)
  let result: Result
  try {
    const opening = inner.open(plan)
    if (opening) await opening
    result = work(inner.pick(plan) as never)
    if (typeof result === 'object' && result !== null && 'then' in result) result = (await result) as Result
  } catch (error) {
    throw await endFailed(scope, inner, error instanceof Failure ? error.error : error)
  }
  const ending = endTo(scope, inner, WELL)
  if (ending) await ending
  return result as Awaited<Result>
}

/** Work in the app's scope gets a request scope at least, so that closing the app waits for it. */
function enterForWork(scope: Scope, kind: Kind): Scope {
  const inner = enterTo(scope, kind === appKind && scope.kind === appKind ? requestKind : kind)
  if (inner !== scope) inner.working = true
  return inner
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

/** Ends the scopes that were entered on the way from `outer` to `inner`, innermost first. */
export function endTo(outer: Scope, inner: Scope, ending: Ending): Promise<void> | undefined {
  if (inner === outer) return undefined
  const ended = inner.end(ending)
  const parent = inner.parent!
  if (parent === outer) return ended
  return ended ? endBoth(ended, () => endTo(outer, parent, ending)) : endTo(outer, parent, ending)
}

async function endBoth(first: Promise<void>, second: () => Promise<void> | undefined): Promise<void> {
  try {
    await first
  } finally {
    await second()
  }
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
  const closing = closeError instanceof StewardError && closeError.code === 'ERR_CLOSE' ? closeError.errors : [closeError]
  return new StewardError(
    'ERR_CLOSE',
    `Cannot end cleanly: the work failed, and ${closing.length} of its closes failed after it; each is in "errors"`,
    { errors: [error, ...closing], cause: error },
  )
}

import type { Deadline } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import { closeFailure, errorsOf, Failure, scopeClosed } from './failure.ts'
import type { Plan } from './graph.ts'
import { isWithin, type Kind } from './kind.ts'
import { notOk, type Fitting, type Ending, type Resources, type Values } from './resource.ts'
import type { Inputs, Scope } from './scope.ts'
import type { Underway, Waiter } from './underway.ts'

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
export function runIn<Result>(
  scope: Scope,
  wanted: Resources,
  work: (values: never) => Result,
): Promise<Awaited<Result>> {
  try {
    const plan = scope.root.graph.plan(wanted)
    const inner = enterTo(scope, plan.kind)
    const piece = new Piece({ scope, inner, plan }, work as Work)
    return piece.begin() as Promise<Awaited<Result>>
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Where a piece of work takes place, and what it wants there. */
interface Place {
  readonly scope: Scope
  readonly inner: Scope
  readonly plan: Plan
}

type Work = (values: Record<string, unknown>) => unknown

/**
 * One piece of work, from the opening of what it wants to the closing of its scopes. Held by what it waits for, which calls
 * it. An async function in its place would be shorter, and wait for a promise more at the opening and at the closing.
 *
 * ```
 * opening ──done()──▶ working ──▶ closing ──done()──▶ resolved
 *    └──────failed()─────┴──────────▶ closing ───────▶ rejected
 * ```
 */
class Piece implements Waiter {
  readonly #scope: Scope
  readonly #inner: Scope
  readonly #plan: Plan
  readonly #work: Work
  /** Whoever closes a scope around it waits for the work; this tells that it is over, where the scope's own end does not. */
  readonly #leave: Release | undefined
  #state: 'opening' | 'working' | 'closing' | 'over' = 'opening'
  #result: unknown = undefined
  /** Absent when there is nothing to wait for. */
  #outcome: PromiseWithResolvers<unknown> | undefined = undefined

  constructor({ scope, inner, plan }: Place, work: Work) {
    this.#scope = scope
    this.#inner = inner
    this.#plan = plan
    this.#work = work
    this.#leave = inner === scope ? scope.visit() : undefined
    if (inner !== scope) inner.working = true
  }

  begin(): Promise<unknown> {
    try {
      const opening = this.#inner.beginOpen(this.#plan)
      if (opening) opening.tell(this)
      else this.#start()
    } catch (error) {
      this.#fail(error)
    }
    if (this.#state === 'over') return Promise.resolve(this.#result)
    return (this.#outcome ??= Promise.withResolvers()).promise
  }

  /** What it waited for has ended well. */
  done(): void {
    if (this.#state === 'opening') return this.#start()
    this.#state = 'over'
    this.#outcome?.resolve(this.#result)
  }

  /** What it waited for has not. */
  failed(error: unknown): void {
    if (this.#state === 'opening') return this.#fail(error)
    ;(this.#outcome ??= Promise.withResolvers()).reject(error)
  }

  #start(): void {
    this.#state = 'working'
    try {
      const result = this.#work(this.#inner.pick(this.#plan))
      if (isThenable(result)) void this.#wait(result)
      else this.#finish(result)
    } catch (error) {
      this.#fail(error)
    }
  }

  async #wait(work: PromiseLike<unknown>): Promise<void> {
    try {
      this.#finish(await work)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** @throws `ERR_SCOPE_CLOSED` */
  #finish(result: unknown): void {
    const inner = this.#inner
    if (inner.state !== 'open') throw scopeClosed(inner, 'finish the work')
    this.#leave?.()
    this.#result = result
    this.#state = 'closing'
    const closing = endTo(this.#scope, inner, WELL)
    if (closing) closing.tell(this)
    else this.done()
  }

  #fail(error: unknown): void {
    this.#leave?.()
    const own = error instanceof Failure ? error.error : error
    this.#state = 'closing'
    void endFailed(this.#scope, this.#inner, own).then((outcome) => this.failed(outcome))
  }
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
function endTo(outer: Scope, inner: Scope, ending: Ending): Underway | undefined {
  if (inner.parent === outer) return inner.beginEnd(ending)
  const ended = endWithin({ outer, inner, ending, limit: undefined })
  return (
    ended && {
      tell: (waiter) =>
        void ended.then(
          () => waiter.done(),
          (error) => waiter.failed(error),
        ),
    }
  )
}

/** What is to be ended, and how. */
export interface EndWithin {
  readonly outer: Scope
  readonly inner: Scope
  readonly ending: Ending
  readonly limit: Deadline | undefined
}

/** The same with a limit, by promise. */
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
    await endWithin({ outer, inner, ending: { ok: false, error }, limit: undefined })
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

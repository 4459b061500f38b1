import type { Failure } from './failure.ts'
import type { Plan, Step } from './graph.ts'
import type { OpenContext } from './context.ts'
import type { Scope } from './scope.ts'

/**
 * Opens a plan in a scope: each step as soon as what it stands on is open. What is synchronous is open after one pass
 * through the steps, and when that was all, there is no promise. Else each opening that ends brings the next pass.
 *
 * @throws `Failure`
 */
export function openPlan(scope: Scope, plan: Plan): Promise<void> | undefined {
  let opening: Opening | undefined
  try {
    for (const step of plan.steps) {
      const owner = scope.at(step.kind.depth)
      if (owner.has(step)) continue
      // As long as nothing is pending, all that comes before it is open
      if (opening && !isReady(owner, step)) continue
      const context = owner.start(step)
      if (context) (opening ??= new Opening(scope, plan)).waitFor(context)
    }
  } catch (error) {
    opening?.leave()
    throw error
  }
  return opening?.promise
}

/** One opening of a plan that takes its time, waited for by one caller. */
export class Opening {
  readonly promise: Promise<void>
  readonly #scope: Scope
  readonly #plan: Plan
  readonly #resolve: () => void
  readonly #reject: (error: unknown) => void
  #isOver = false

  constructor(scope: Scope, plan: Plan) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.promise = promise
    this.#resolve = resolve
    this.#reject = reject
    this.#scope = scope
    this.#plan = plan
  }

  waitFor(context: OpenContext): void {
    context.waitedBy(this)
  }

  /** What else is opening belongs to the scope: nobody waits for it here any more. */
  leave(): void {
    this.#isOver = true
  }

  /** One that it waited for has ended. Did anybody still want to know? */
  advance(failure: Failure | undefined): boolean {
    if (this.#isOver) return false
    try {
      if (failure) throw failure
      if (this.#pass()) this.#resolve()
      else return true
    } catch (error) {
      this.#reject(error)
    }
    this.#isOver = true
    return true
  }

  /** Starts what can be started by now; is everything open? @throws `Failure` */
  #pass(): boolean {
    let isOpen = true
    for (const step of this.#plan.steps) {
      const owner = this.#scope.at(step.kind.depth)
      if (owner.has(step)) continue
      const context = isReady(owner, step) ? owner.start(step) : undefined
      if (context) context.waitedBy(this)
      isOpen &&= owner.has(step)
    }
    return isOpen
  }
}

function isReady(scope: Scope, step: Step): boolean {
  for (const dep of step.deps) if (!scope.has(dep.step)) return false
  return true
}

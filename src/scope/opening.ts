import type { OpenContext } from './context.ts'
import type { Failure } from './failure.ts'
import type { Plan, Step } from './graph.ts'
import type { Scope } from './scope.ts'

/**
 * Opens a plan in a scope: each step as soon as what it stands on is open. What is synchronous is open after one pass
 * through the steps, and when that was all, there is no promise. Else each opening that ends brings the next pass.
 *
 * @throws `Failure`
 */
export function openPlan(scope: Scope, plan: Plan): Promise<void> | undefined {
  return pass(scope, plan, undefined)?.promise
}

/** Starts what can be started by now; gives the opening when something of it has to be waited for. @throws `Failure` */
function pass(scope: Scope, plan: Plan, opening: Opening | undefined): Opening | undefined {
  let waiting: Opening | undefined
  try {
    for (const step of plan.steps) {
      const owner = scope.at(step.kind.depth)
      if (owner.has(step)) continue
      // As long as nothing is waited for, all that comes before it is open
      if (waiting && !isReady(owner, step)) continue
      const context = owner.start(step)
      if (context) (waiting ??= opening ?? new Opening(scope, plan)).waitFor(context)
    }
  } catch (error) {
    waiting?.leave()
    throw error
  }
  return waiting
}

function isReady(scope: Scope, step: Step): boolean {
  for (const dep of step.deps) if (!scope.has(dep.step)) return false
  return true
}

/** One opening of a plan that takes its time, waited for by one caller. Held by the openings that it waits for. */
export class Opening {
  readonly promise: Promise<void>
  readonly #scope: Scope
  readonly #plan: Plan
  #resolve!: () => void
  #reject!: (error: unknown) => void
  #isOver = false

  constructor(scope: Scope, plan: Plan) {
    this.#scope = scope
    this.#plan = plan
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
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
      if (!pass(this.#scope, this.#plan, this)) this.#end()
    } catch (error) {
      this.leave()
      this.#reject(error)
    }
    return true
  }

  #end(): void {
    this.#isOver = true
    this.#resolve()
  }
}

import type { OpenContext } from './context.ts'
import type { Failure } from './failure.ts'
import type { Plan, Step } from './graph.ts'
import type { Scope } from './scope.ts'
import type { Underway, Waiter } from './underway.ts'

/**
 * Opens a plan in a scope: each step as soon as what it stands on is open. What is synchronous is open after one pass
 * through the steps, and when that was all, there is nothing to wait for. Else each opening that ends brings the next pass.
 *
 * @throws `Failure`
 */
export function openPlan(scope: Scope, plan: Plan): Opening | undefined {
  return pass(scope, plan, undefined)
}

/** Starts what can be started by now; gives the opening when something of it has to be waited for. @throws `Failure` */
function pass(scope: Scope, plan: Plan, opening: Opening | undefined): Opening | undefined {
  const stopped = openNow(scope, plan)
  if (stopped === true) return undefined
  let waiting: Opening | undefined
  if (stopped !== false) {
    waiting = opening ?? new Opening(scope, plan)
    stopped.waitedBy(waiting)
    if (plan.isChain) return waiting
  }
  try {
    for (const step of plan.steps) {
      const owner = scope.ownerOf(step)
      if (owner.holds(step)) continue
      // As long as nothing is waited for, all that comes before it is open
      if (waiting && !isReady(owner, step)) continue
      const context = owner.start(step)
      if (context) context.waitedBy((waiting ??= opening ?? new Opening(scope, plan)))
    }
  } catch (error) {
    waiting?.leave()
    throw error
  }
  return waiting
}

/**
 * The short way, and that of nearly every request: opens step after step as long as none has to be waited for. Is all of it
 * open now? Else gives the one that has to be, or nothing is known of what comes next, and the long way goes on from there.
 *
 * @throws `Failure`
 */
function openNow(scope: Scope, plan: Plan): OpenContext | boolean {
  const { kind } = scope
  for (const step of plan.steps) {
    if (step.kind !== kind) {
      if (!scope.has(step)) return false
    } else if (!scope.holds(step)) {
      const started = scope.startNow(step)
      if (started !== true) return started
    }
  }
  return true
}

function isReady(scope: Scope, step: Step): boolean {
  for (const dep of step.deps) if (!scope.has(dep)) return false
  return true
}

/** One opening of a plan that takes its time, waited for by one caller. Held by the openings that it waits for. */
export class Opening implements Underway {
  readonly #scope: Scope
  readonly #plan: Plan
  #waiter: Waiter | undefined = undefined
  #isOver = false

  constructor(scope: Scope, plan: Plan) {
    this.#scope = scope
    this.#plan = plan
  }

  tell(waiter: Waiter): void {
    this.#waiter = waiter
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
      if (pass(this.#scope, this.#plan, this)) return true
    } catch (error) {
      this.leave()
      this.#waiter!.failed(error)
      return true
    }
    this.leave()
    this.#waiter!.done()
    return true
  }
}

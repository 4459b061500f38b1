import type { Plan, Step } from './graph.ts'
import type { OpenContext } from './opener.ts'
import type { Failure, Scope } from './scope.ts'

/**
 * Opens a plan in a scope: each step as soon as what it stands on is open. Goes through the steps once, dependencies first;
 * what is synchronous is open then, and when that was all, there is no promise. Else each opening that ends brings the next
 * pass.
 */
export function openPlan(scope: Scope, plan: Plan): Promise<void> | undefined {
  if (!isBlocked(plan, scope)) return undefined
  const opening = new Opening(scope, plan)
  return opening.pass() ? undefined : opening.promise
}

/** Is anything of it not open yet? */
function isBlocked(plan: Plan, scope: Scope): boolean {
  for (const step of plan.steps) if (!scope.has(step)) return true
  return false
}

/** One opening of a plan, waited for by one caller. */
export class Opening {
  readonly #scope: Scope
  readonly #plan: Plan
  #over = false
  #promise: PromiseWithResolvers<void> | undefined = undefined

  constructor(scope: Scope, plan: Plan) {
    this.#scope = scope
    this.#plan = plan
  }

  get promise(): Promise<void> {
    return (this.#promise ??= Promise.withResolvers()).promise
  }

  /** Starts what can be started; is everything open? @throws `Failure` */
  pass(): boolean {
    let all = true
    for (const step of this.#plan.steps) {
      const owner = this.#scope.at(step.kind.depth)
      if (owner.has(step)) continue
      const context = isReady(owner, step) ? this.#start(owner, step) : undefined
      if (context) context.waitedBy(this)
      all &&= owner.has(step)
    }
    return all
  }

  /** One that it waited for has ended. */
  advance(failure: Failure | undefined): void {
    if (this.#over) return
    if (failure) return this.#end(failure)
    try {
      if (this.pass()) this.#end()
    } catch (error) {
      this.#end(error)
    }
  }

  #start(owner: Scope, step: Step): OpenContext | undefined {
    try {
      return owner.start(step)
    } catch (error) {
      // What else is opening belongs to the scope: nobody waits for it here any more
      this.#over = true
      throw error
    }
  }

  #end(error?: unknown): void {
    this.#over = true
    const { resolve, reject } = (this.#promise ??= Promise.withResolvers())
    if (error === undefined) resolve()
    else reject(error)
  }
}

function isReady(scope: Scope, step: Step): boolean {
  for (const dep of step.deps) if (!scope.has(dep.step)) return false
  return true
}

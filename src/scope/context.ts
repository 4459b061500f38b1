import { StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import type { Failure } from './failure.ts'
import type { Step } from './graph.ts'
import type { Opening } from './opening.ts'
import type { Context, Ending, Used } from './resource.ts'
import type { Scope } from './scope.ts'

/** What `use` was called with; held in a box, so that a value with a `then` passes through promises unharmed. */
export interface UsedOnce {
  readonly value: unknown
  /** Settles the promise that `use` returned. */
  readonly scopeEnds: (ending: Ending) => void
}

/** What most contexts never need: made at first touch. */
interface Touched {
  controller: AbortController | undefined
  used: UsedOnce | undefined
  onUse: ((used: UsedOnce) => void) | undefined
  onOver: (() => void) | undefined
}

/**
 * The context of one opening, and the opening itself while it is under way. Held by its scope until it is over, and by
 * the opener for as long as it likes.
 */
export class OpenContext implements Context {
  readonly scope: Scope
  readonly step: Step
  /** Was `use` looked at? Then the opener's promise is the close, not the value. */
  wantsUse = false
  /** Why the opener was asked to stop, once it was. */
  aborted: StewardError | undefined = undefined
  /** Is the opening over, well or not? */
  isOver = false
  /** How it failed, when it did. */
  failure: Failure | undefined = undefined
  /** When the opening began, in the app scope. */
  began = 0
  /** Ends the clock of its openTimeout. */
  stopClock: Release | undefined = undefined
  #waiting: Opening | Set<Opening> | undefined = undefined
  #touched: Touched | undefined = undefined

  constructor(scope: Scope, step: Step) {
    this.scope = scope
    this.step = step
  }

  /** Told when it has ended. */
  waitedBy(opening: Opening): void {
    if (this.#waiting === undefined || this.#waiting === opening) this.#waiting = opening
    else if (this.#waiting instanceof Set) this.#waiting.add(opening)
    else this.#waiting = new Set([this.#waiting, opening])
  }

  /** It is open, or has failed: its signal stays as it is from now on, and those who wait go on. Did anybody? */
  settle(failure: Failure | undefined): boolean {
    this.isOver = true
    this.failure = failure
    this.stopClock?.()
    const waiting = this.#waiting
    this.#waiting = undefined
    const isHeard =
      waiting instanceof Set ? advanceAll(waiting, failure) : waiting?.advance(failure)
    this.#touched?.onOver?.()
    return isHeard ?? false
  }

  /** Resolves when the opening is over, well or not. */
  over(): Promise<void> {
    const touched = this.#touch()
    return new Promise((resolve) => (touched.onOver = resolve))
  }

  get name(): string {
    return this.step.name
  }

  get opening(): AbortSignal {
    const touched = this.#touch()
    if (!touched.controller) {
      touched.controller = new AbortController()
      if (this.aborted) touched.controller.abort(this.aborted)
    }
    return touched.controller.signal
  }

  get use(): Context['use'] {
    this.wantsUse = true
    return (value) => this.#use(value)
  }

  get fail(): Context['fail'] {
    return (error) => this.#fail(error)
  }

  get isUsed(): boolean {
    return this.#touched?.used !== undefined
  }

  /** Asks the opener to stop; nothing happens when it is open already. */
  abort(reason: StewardError): void {
    if (this.isOver || this.aborted) return
    this.aborted = reason
    this.#touched?.controller?.abort(reason)
  }

  /** Who takes what `use` is called with, now or later. */
  onUse(listener: (used: UsedOnce) => void): void {
    const touched = this.#touch()
    touched.onUse = listener
    if (touched.used) listener(touched.used)
  }

  #touch(): Touched {
    return (this.#touched ??= {
      controller: undefined,
      used: undefined,
      onUse: undefined,
      onOver: undefined,
    })
  }

  #use<Value>(value: Value): Promise<Used<Value>> {
    const touched = this.#touch()
    if (touched.used) throw useTwice(this.step)
    const { promise, resolve, reject } = Promise.withResolvers<Used<Value>>()
    // The callback API may drop the promise; its rejection is known to the scope anyway
    promise.catch(() => {})
    const scopeEnds = (ending: Ending): void =>
      ending.ok ? resolve(USED as Used<Value>) : reject(ending.error)
    touched.used = { value, scopeEnds }
    touched.onUse?.(touched.used)
    return promise
  }

  /** Died while it was opening? Then it failed to open. */
  #fail(error: unknown): void {
    if (this.isOver) {
      return this.aborted || this.failure ? undefined : this.scope.died(this.step, error)
    }
    this.abort(died(this.step, error))
    this.scope.reject(this, error)
  }
}

/** Goes on with each; did anybody still want to know? */
function advanceAll(waiting: ReadonlySet<Opening>, failure: Failure | undefined): boolean {
  let isHeard = false
  for (const opening of waiting) if (opening.advance(failure)) isHeard = true
  return isHeard
}

const USED = Object.freeze({}) as unknown as Used<unknown>

function died(step: Step, error: unknown): StewardError {
  return new StewardError(
    'ERR_RESOURCE_DIED',
    `Cannot open "${step.name}": it died while it was opening`,
    { cause: error },
  )
}

function useTwice(step: Step): StewardError {
  return new StewardError(
    'ERR_USE_TWICE',
    `Cannot use a second value in "${step.name}": its opener called use twice, which retrying callback APIs do; open it once and retry inside`,
  )
}

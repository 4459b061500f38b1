import { StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import type { Failure } from './failure.ts'
import type { Step } from './graph.ts'
import { Notes } from './journal.ts'
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
interface Rare {
  wantsUse: boolean
  aborted: StewardError | undefined
  failure: Failure | undefined
  controller: AbortController | undefined
  used: UsedOnce | undefined
  onUse: ((used: UsedOnce) => void) | undefined
  onOver: (() => void) | undefined
  notes: Notes | undefined
  /** Ends the clock of its openTimeout. */
  stopClock: Release | undefined
  /** When it began, in the app scope. */
  began: number
}

/**
 * The context of one opening, and the opening itself while it is under way. Held by its scope until it is over, and by
 * the opener for as long as it likes. One is made for every resource of every request: few fields, the rest at first need.
 */
export class OpenContext implements Context<unknown> {
  readonly scope: Scope
  readonly step: Step
  /** Is the opening over, well or not? */
  isOver = false
  #waiting: Opening[] | undefined = undefined
  #rare: Rare | undefined = undefined

  constructor(scope: Scope, step: Step) {
    this.scope = scope
    this.step = step
  }

  /** Was anything done with it that most openers do not do? */
  get isTouched(): boolean {
    return this.#rare !== undefined
  }

  /** Was `use` looked at? Then the opener's promise is the close, not the value. */
  get wantsUse(): boolean {
    return this.#rare !== undefined && this.#rare.wantsUse
  }

  /** Why the opener was asked to stop, once it was. */
  get aborted(): StewardError | undefined {
    return this.#rare?.aborted
  }

  /** How it failed, when it did. */
  get failure(): Failure | undefined {
    return this.#rare?.failure
  }

  get began(): number {
    return this.#rare?.began ?? 0
  }

  set began(moment: number) {
    this.#own.began = moment
  }

  set stopClock(stop: Release) {
    this.#own.stopClock = stop
  }

  /** Do others wait for it? Not when the opener is synchronous. */
  get isWaitedFor(): boolean {
    return this.#waiting !== undefined
  }

  /** Told when it has ended. */
  waitedBy(opening: Opening): void {
    if (!this.#waiting) this.#waiting = [opening]
    else if (!this.#waiting.includes(opening)) this.#waiting.push(opening)
  }

  /** It is open, or has failed: its signal stays as it is from now on, and those who wait go on. Did anybody? */
  settle(failure: Failure | undefined): boolean {
    this.isOver = true
    if (failure) this.#own.failure = failure
    this.#rare?.stopClock?.()
    let isHeard = false
    for (const opening of this.#waiting ?? NOBODY) if (opening.advance(failure)) isHeard = true
    this.#rare?.onOver?.()
    return isHeard
  }

  /** Resolves when the opening is over, well or not. */
  over(): Promise<void> {
    return new Promise((resolve) => (this.#own.onOver = resolve))
  }

  get name(): string {
    return this.step.name
  }

  get opening(): AbortSignal {
    const own = this.#own
    if (!own.controller) {
      own.controller = new AbortController()
      if (this.aborted) own.controller.abort(this.aborted)
    }
    return own.controller.signal
  }

  get use(): Context['use'] {
    this.#own.wantsUse = true
    return (value) => this.#use(value)
  }

  get fail(): Context['fail'] {
    return (error) => this.#fail(error)
  }

  get journal(): Notes {
    return (this.#own.notes ??= new Notes(this))
  }

  /** What it has noted, if it has looked at its journal. */
  get notes(): Notes | undefined {
    return this.#rare?.notes
  }

  get isUsed(): boolean {
    return this.#rare?.used !== undefined
  }

  /** Asks the opener to stop; nothing happens when it is open already. */
  abort(reason: StewardError): void {
    if (this.isOver || this.aborted) return
    this.#own.aborted = reason
    this.#own.controller?.abort(reason)
  }

  /** Who takes what `use` is called with, now or later. */
  onUse(listener: (used: UsedOnce) => void): void {
    const own = this.#own
    own.onUse = listener
    if (own.used) listener(own.used)
  }

  get #own(): Rare {
    return (this.#rare ??= {
      wantsUse: false,
      aborted: undefined,
      failure: undefined,
      controller: undefined,
      used: undefined,
      onUse: undefined,
      onOver: undefined,
      notes: undefined,
      stopClock: undefined,
      began: 0,
    })
  }

  #use<Value>(value: Value): Promise<Used<Value>> {
    const own = this.#own
    // Once it is open by what its opener gave, there is nothing to hand out
    const isOpen = this.isOver && !this.aborted && !this.failure
    if (own.used || isOpen) throw useTwice(this.step)
    const { promise, resolve, reject } = Promise.withResolvers<Used<Value>>()
    // The callback API may drop the promise; its rejection is known to the scope anyway
    promise.catch(() => {})
    const scopeEnds = (ending: Ending): void =>
      ending.ok ? resolve(USED as Used<Value>) : reject(ending.error)
    own.used = { value, scopeEnds }
    own.onUse?.(own.used)
    return promise
  }

  /** Died while it was opening? Then it failed to open. */
  #fail(error: unknown): void {
    if (!this.isOver) {
      this.abort(died(this.step, error))
      this.scope.reject(this, error)
    } else if (!this.aborted && !this.failure) this.scope.died(this.step, error)
  }
}

const NOBODY: readonly Opening[] = []

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

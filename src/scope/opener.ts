import { StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import type { Step } from './graph.ts'
import type { Opening } from './opening.ts'
import { FakeDefinition } from './override.ts'
import type { Context, Ending, Used } from './resource.ts'
import type { Failure, Scope } from './scope.ts'

/** Something open that has to be closed: who holds it is its scope; `end` is called once, by the scope's closing. */
export interface Held {
  readonly step: Step
  /** Closes it and tells it how its scope ended; throws or rejects when that failed. */
  end(ending: Ending): Promise<void> | void
}

/**
 * Runs one opener. Was it synchronous? Then its value has been delivered to its scope, at no cost of a promise; else it will
 * be, or the scope will be told of the opener's error.
 *
 * @throws `ERR_NO_YIELD`, or whatever the opener throws at once
 */
export function runOpener(context: OpenContext): boolean {
  const { scope, step } = context
  const { definition } = step
  const result = definition.deps ? definition.open(depsOf(scope, step), context) : definition.open(context)
  if (context.wantsUse) return throughUse(context, result)
  if (typeof result !== 'object' || result === null || isVerbatim(step)) return deliver(context, result, undefined)
  switch ((result as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag]) {
    case 'Generator':
      return fromGenerator(context, result as Generator<unknown, unknown, Ending>)
    case 'AsyncGenerator':
      return fromAsyncGenerator(context, result as AsyncGenerator<unknown, unknown, Ending>)
    case 'Promise':
      if (isPromise(result)) return fromPromise(context, result)
  }
  return deliver(context, result, disposal(context, result))
}

/** A promise is the language's own; anything else with a `then` is a value like any other (R15). */
export function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise
}

function depsOf(scope: Scope, step: Step): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const { key, step: dep } of step.deps) values[key] = scope.valueOf(dep)
  return values
}

function deliver(context: OpenContext, value: unknown, held: Held | undefined): true {
  context.scope.accept(context, value, held)
  return true
}

function fromPromise(context: OpenContext, promise: Promise<unknown>): false {
  promise.then(
    (value) => deliver(context, value, disposal(context, value)),
    (error: unknown) => context.scope.reject(context, error),
  )
  return false
}

function fromGenerator(context: OpenContext, generator: Generator<unknown, unknown, Ending>): boolean {
  const first = generator.next()
  if (first.done) throw noYield(context.step)
  const held = new HeldGenerator(context.step, generator)
  if (!isPromise(first.value)) return deliver(context, first.value, held)
  first.value.then(
    (value) => deliver(context, value, held),
    (error: unknown) => context.scope.reject(context, error),
  )
  return false
}

function fromAsyncGenerator(context: OpenContext, generator: AsyncGenerator<unknown, unknown, Ending>): false {
  const { scope, step } = context
  generator.next().then(
    (first) => {
      if (first.done) scope.reject(context, noYield(step))
      else scope.accept(context, first.value, new HeldAsyncGenerator(step, generator))
    },
    (error: unknown) => scope.reject(context, error),
  )
  return false
}

/** A fake's value is given as it is, a generator or a promise too. */
function isVerbatim(step: Step): boolean {
  return step.definition instanceof FakeDefinition && step.definition.verbatim
}

class HeldGenerator implements Held {
  readonly step: Step
  readonly #generator: Generator<unknown, unknown, Ending>

  constructor(step: Step, generator: Generator<unknown, unknown, Ending>) {
    this.step = step
    this.#generator = generator
  }

  end(ending: Ending): Promise<void> | void {
    const last = this.#generator.next(ending)
    if (!last.done) {
      this.#generator.return(undefined)
      throw secondYield(this.step)
    }
    if (isPromise(last.value)) return last.value.then(() => {})
  }
}

class HeldAsyncGenerator implements Held {
  readonly step: Step
  readonly #generator: AsyncGenerator<unknown, unknown, Ending>

  constructor(step: Step, generator: AsyncGenerator<unknown, unknown, Ending>) {
    this.step = step
    this.#generator = generator
  }

  end(ending: Ending): Promise<void> {
    return this.#generator.next(ending).then((last) => (last.done ? undefined : this.#stopSecond()))
  }

  async #stopSecond(): Promise<never> {
    await this.#generator.return(undefined)
    throw secondYield(this.step)
  }
}

/** A value whose own disposer is called, because its options ask for it. */
class HeldDisposable implements Held {
  readonly step: Step
  readonly #dispose: () => unknown

  constructor(step: Step, dispose: () => unknown) {
    this.step = step
    this.#dispose = dispose
  }

  async end(): Promise<void> {
    await this.#dispose()
  }
}

function disposal({ scope, step }: OpenContext, value: unknown): Held | undefined {
  const { dispose } = step.definition.options
  if (!dispose && step.disposerSeen) return undefined
  step.disposerSeen = true
  const disposer = disposerOf(value)
  if (!disposer || dispose === false) return undefined
  if (dispose) return new HeldDisposable(step, disposer)
  scope.root.emit({
    type: 'warning',
    message: `"${step.name}" gives a value with a disposer, which is not called: say { dispose: true } to have it closed, or { dispose: false } if it belongs to somebody else`,
  })
  return undefined
}

function disposerOf(value: unknown): (() => unknown) | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const disposable = value as Partial<AsyncDisposable & Disposable>
  const method = disposable[Symbol.asyncDispose] ?? disposable[Symbol.dispose]
  return typeof method === 'function' ? () => method.call(disposable as never) : undefined
}

/** The callback form: the opener is open when it calls `use`, and closed when its own promise has settled. */
function throughUse(context: OpenContext, result: unknown): false {
  const { scope, step } = context
  const opener = Promise.resolve(result)
  context.onUse(({ value, scopeEnds }) => scope.accept(context, value, new HeldUse(step, opener, scopeEnds)))
  opener.then(
    () => scope.reject(context, useNever(step)),
    (error: unknown) => scope.reject(context, error),
  )
  return false
}

class HeldUse implements Held {
  readonly step: Step
  readonly #opener: Promise<unknown>
  readonly #scopeEnds: (ending: Ending) => void

  constructor(step: Step, opener: Promise<unknown>, scopeEnds: (ending: Ending) => void) {
    this.step = step
    this.#opener = opener
    this.#scopeEnds = scopeEnds
  }

  async end(ending: Ending): Promise<void> {
    const outcome = ending.ok ? ending : { ...ending, error: ending.error ?? notOk(ending) }
    this.#scopeEnds(outcome)
    try {
      await this.#opener
    } catch (error) {
      // The scope's own failure comes back through the callback API: it is known already
      if (outcome.ok || error !== outcome.error) throw error
    }
  }
}

/** What `use` was called with; held in a box, so that a value with a `then` passes through promises unharmed. */
interface UsedOnce {
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

/** The context of one opening, and the opening itself while it is under way. */
export class OpenContext implements Context {
  readonly scope: Scope
  readonly step: Step
  /** Was `use` looked at? Then the opener's promise is the close, not the value. */
  wantsUse = false
  /** Why the opener was asked to stop, once it was. */
  aborted: StewardError | undefined = undefined
  /** Is the opening over, well or not? */
  isOver = false
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

  /** It is open, or has failed: its signal stays as it is from now on, and those who wait go on. */
  settle(failure: Failure | undefined): void {
    this.isOver = true
    this.stopClock?.()
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting instanceof Set) for (const opening of waiting) opening.advance(failure)
    else waiting?.advance(failure)
    this.#touched?.onOver?.()
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
    return (error) => this.scope.died(this.step, error)
  }

  /** Asks the opener to stop; nothing happens when it is open already. */
  abort(reason: StewardError): void {
    if (this.isOver || this.aborted) return
    this.aborted = reason
    this.#touched?.controller?.abort(reason)
  }

  onUse(listener: (used: UsedOnce) => void): void {
    const touched = this.#touch()
    touched.onUse = listener
    if (touched.used) listener(touched.used)
  }

  #touch(): Touched {
    return (this.#touched ??= { controller: undefined, used: undefined, onUse: undefined, onOver: undefined })
  }

  #use<Value>(value: Value): Promise<Used<Value>> {
    const touched = this.#touch()
    if (touched.used) throw useTwice(this.step)
    const { promise, resolve, reject } = Promise.withResolvers<Used<Value>>()
    // The callback API may drop the promise; its rejection is known to the scope anyway
    promise.catch(() => {})
    const scopeEnds = (ending: Ending): void => (ending.ok ? resolve(USED as Used<Value>) : reject(ending.error))
    touched.used = { value, scopeEnds }
    touched.onUse?.(touched.used)
    return promise
  }
}

const USED = Object.freeze({}) as unknown as Used<unknown>

function notOk(ending: Ending): StewardError {
  const status = ending.status === undefined ? 'its scope failed' : `the response has status ${ending.status}`
  return new StewardError('ERR_RESPONSE_NOT_OK', `Cannot keep what was done: ${status}`)
}

function noYield(step: Step): StewardError {
  return new StewardError(
    'ERR_NO_YIELD',
    `Cannot open "${step.name}": its generator ended without a yield, yield the value once`,
  )
}

function secondYield(step: Step): StewardError {
  return new StewardError(
    'ERR_SECOND_YIELD',
    `Cannot close "${step.name}": its generator yielded a second time, yield the value once and clean up after it`,
  )
}

function useNever(step: Step): StewardError {
  return new StewardError(
    'ERR_USE_NEVER',
    `Cannot open "${step.name}": its opener ended without calling use, call use(value) inside the callback and return what it gives`,
  )
}

function useTwice(step: Step): StewardError {
  return new StewardError(
    'ERR_USE_TWICE',
    `Cannot use a second value in "${step.name}": its opener called use twice, which retrying callback APIs do; open it once and retry inside`,
  )
}

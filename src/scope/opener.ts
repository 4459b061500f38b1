import { StewardError } from '../base/errors.ts'
import type { OpenContext } from './context.ts'
import type { Step } from './graph.ts'
import { settleBefore } from './journal.ts'
import type { Ending } from './resource.ts'

/** Something open that has to be closed: who holds it is its scope; `end` is called once, by the scope's closing. */
export interface Held {
  readonly step: Step
  /** Closes it and tells it how its scope ended; throws or rejects when that failed. */
  end(ending: Ending): Promise<unknown> | void
  /** Looks at what an asynchronous `end` resolved with: was it the end? Gives a rejection when it was not. */
  after?(last: unknown): Promise<never> | undefined
}

/** Closes one outside a scope's closing. */
export async function endHeld(held: Held, ending: Ending): Promise<void> {
  const last = await held.end(ending)
  await held.after?.(last)
}

/**
 * Runs one opener. Is it open now? Then its value has been delivered to its scope, at no cost of a promise; else it will
 * be, or the scope will be told of the opener's error.
 *
 * What an earlier opening has left is settled first.
 *
 * @throws `ERR_NO_YIELD`, `ERR_USE_NEVER`, or whatever the opener throws at once
 */
export function runOpener(context: OpenContext): boolean {
  const settling = settleBefore(context)
  if (!settling) return take(context, callOpener(context))
  const open = (): void => {
    if (context.aborted) throw context.aborted
    take(context, callOpener(context))
  }
  settling.then(open).catch((error: unknown) => context.scope.reject(context, error))
  return false
}

/**
 * The same for a step that is usual: what a generator yields, or a value without a disposer, needs no more than to be put
 * in its place.
 *
 * @throws the same
 */
export function runUsual(context: OpenContext): boolean {
  const { scope, step } = context
  const result = callOpener(context)
  if (context.isTouched) return take(context, result)
  if (step.gives === 'generator') {
    const generator = result as Generator<unknown, unknown, Ending>
    const first = generator.next()
    if (first.done || isPromise(first.value)) return fromFirst(context, generator, first)
    return scope.acceptNow(context, first.value, new HeldGenerator(step, generator))
  }
  const isPlain = step.gives === 'anything' && (!isObject(result) || formOf(result) === undefined)
  return isPlain ? scope.acceptNow(context, result, undefined) : take(context, result)
}

function callOpener(context: OpenContext): unknown {
  const { scope, step } = context
  const { wants } = step
  return wants ? step.open(scope.recordOf(wants), context) : step.open(context)
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function take(context: OpenContext, result: unknown): boolean {
  const { scope, step } = context
  if (context.wantsUse) return fromPromise(context, Promise.resolve(result))
  if (!isObject(result)) return scope.accept(context, result, undefined)
  switch (step.gives === 'anything' ? formOf(result) : step.gives) {
    case 'value':
      return scope.accept(context, result, undefined)
    case 'generator':
      return fromGenerator(context, result as Generator<unknown, unknown, Ending>)
    case 'async generator':
      return fromAsyncGenerator(context, result as AsyncGenerator<unknown, unknown, Ending>)
    case 'promise':
      return fromPromise(context, result as Promise<unknown>)
    default:
      return scope.accept(context, result, disposal(context, result))
  }
}

/** Walks up the prototypes, which is quicker than to ask values of many classes for a tag that they do not have. */
function formOf(result: object): 'generator' | 'async generator' | 'promise' | undefined {
  if (isPromise(result)) return 'promise'
  if (result instanceof AnyGenerator) return 'generator'
  if (result instanceof AnyAsyncGenerator) return 'async generator'
  return undefined
}

/** The language has generators, and no class of them to compare with. */
const AnyGenerator = constructorOf(function* () {})
const AnyAsyncGenerator = constructorOf(async function* () {})

function constructorOf({ prototype }: { readonly prototype: object }): new () => object {
  const constructor = function (): void {}
  constructor.prototype = Object.getPrototypeOf(prototype)
  return constructor as unknown as new () => object
}

/** A promise is the language's own; anything else with a `then` is a value like any other (R15). */
function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise
}

/**
 * An asynchronous opener gives its value by its promise or, in the callback form, by calling `use`: then the promise is
 * its close.
 */
function fromPromise(context: OpenContext, promise: Promise<unknown>): boolean {
  const { scope, step } = context
  promise.then(
    (value) => {
      if (!context.wantsUse) acceptPlain(context, value)
      else if (!context.isUsed) scope.reject(context, useNever(step))
    },
    (error: unknown) => scope.reject(context, error),
  )
  context.onUse(({ value, scopeEnds }) =>
    scope.accept(context, value, new HeldUse(step, promise, scopeEnds)),
  )
  return context.isOver && !context.aborted
}

/** A value may be an object that throws when it is asked for its disposer. */
function acceptPlain(context: OpenContext, value: unknown): void {
  let held: Held | undefined
  try {
    held = disposal(context, value)
  } catch (error) {
    return context.scope.reject(context, error)
  }
  context.scope.accept(context, value, held)
}

function fromGenerator(
  context: OpenContext,
  generator: Generator<unknown, unknown, Ending>,
): boolean {
  return fromFirst(context, generator, generator.next())
}

function fromFirst(
  context: OpenContext,
  generator: Generator<unknown, unknown, Ending>,
  first: IteratorResult<unknown>,
): boolean {
  const { scope, step } = context
  if (first.done) throw noYield(step)
  const held = new HeldGenerator(step, generator)
  if (!isPromise(first.value)) return scope.accept(context, first.value, held)
  first.value.then(
    (value) => scope.accept(context, value, held),
    (error: unknown) => scope.acceptFailed(context, error, held),
  )
  return false
}

function fromAsyncGenerator(
  context: OpenContext,
  generator: AsyncGenerator<unknown, unknown, Ending>,
): false {
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

  end(ending: Ending): Promise<unknown> {
    return this.#generator.next(ending)
  }

  after(last: unknown): Promise<never> | undefined {
    return (last as IteratorResult<unknown>).done ? undefined : this.#stopSecond()
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

  end(): Promise<unknown> | void {
    const done = this.#dispose()
    if (typeof done === 'object' && done !== null) return Promise.resolve(done)
  }
}

function disposal({ scope, step }: OpenContext, value: unknown): Held | undefined {
  const { dispose } = step.definition.options
  if (!dispose && step.disposerSeen) return undefined
  step.disposerSeen = true
  step.isUsual = !dispose && scope.kind.depth > 0 && !step.leavesNotes
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

/** With its close, when that goes well, what the resource has noted is struck off. */
export function strikingOff(context: OpenContext, held: Held | undefined): Held | undefined {
  return context.step.leavesNotes ? new HeldNoted(context, held) : held
}

class HeldNoted implements Held {
  readonly step: Step
  readonly #context: OpenContext
  readonly #held: Held | undefined

  constructor(context: OpenContext, held: Held | undefined) {
    this.step = context.step
    this.#context = context
    this.#held = held
  }

  async end(ending: Ending): Promise<void> {
    if (this.#held) await endHeld(this.#held, ending)
    await this.#context.notes?.strike()
  }
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
    const outcome = ending.ok ? ending : { ...ending, error: ending.error ?? responseNotOk(ending) }
    this.#scopeEnds(outcome)
    try {
      await this.#opener
    } catch (error) {
      // The scope's own failure comes back through the callback API, perhaps wrapped: it is known already
      if (outcome.ok || !isSame(error, outcome.error)) throw error
    }
  }
}

function isSame(error: unknown, known: unknown): boolean {
  return error === known || (error instanceof Error && error.cause === known)
}

function responseNotOk(ending: Ending): StewardError {
  const status =
    ending.status === undefined ? 'its scope failed' : `the response has status ${ending.status}`
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

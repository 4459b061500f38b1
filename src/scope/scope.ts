import type { Emit } from '../base/events.ts'
import type { Deadline } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { World } from '../base/world.ts'
import { closeScope } from './close.ts'
import type { Graph, Plan, Step } from './graph.ts'
import type { Kind } from './kind.ts'
import { OpenContext, runOpener, type Held } from './opener.ts'
import { openPlan } from './opening.ts'
import type { Ending } from './resource.ts'

/** What all scopes of one running service, or of one `open`, share. */
export interface Root {
  readonly graph: Graph
  readonly world: World
  readonly emit: Emit
  /** A resource that was open has died. */
  died(name: string, error: unknown): void
}

/** What a scope is entered with, for the built-in resources that read it: the request, its signal. */
export interface Inputs {
  readonly [name: string]: unknown
}

/**
 * A lifetime that has begun. Holds its values in an array by slot, and what it has to close in the order of opening.
 *
 * ```
 * open ──end()──▶ closing ──▶ closed
 *   └ opens        └ asks openers to stop, ends its children, then closes in reverse; nothing opens any more
 * ```
 */
export class Scope {
  readonly root: Root
  readonly kind: Kind
  readonly parent: Scope | undefined
  readonly inputs: Inputs | undefined
  state: 'open' | 'closing' | 'closed' = 'open'
  /** What has to be closed with it, in the order of opening. */
  held: Held[] | undefined = undefined
  /** Is somebody's work under way in it, who will end it? */
  working = false
  /** By slot: absent is `undefined`, an `undefined` value is VOID. */
  #values: unknown[] = []
  /** By slot, while it opens. */
  #pending: (OpenContext | undefined)[] | undefined = undefined
  #closing: Promise<void> | undefined = undefined
  /** The scopes inside it that are open, as a list through their own links: entering one costs no set. */
  #firstChild: Scope | undefined = undefined
  #next: Scope | undefined = undefined
  #previous: Scope | undefined = undefined
  #onIdle: (() => void) | undefined = undefined

  constructor(root: Root, kind: Kind, parent?: Scope, inputs?: Inputs) {
    this.root = root
    this.kind = kind
    this.parent = parent
    this.inputs = inputs
  }

  /**
   * Begins a scope inside this one, which ends it if nobody else has.
   *
   * @throws `ERR_SCOPE_CLOSED`
   */
  enter(kind: Kind, inputs?: Inputs): Scope {
    if (this.state !== 'open') throw scopeClosed(this, `enter a ${kind.name} scope`)
    const child = new Scope(this.root, kind, this, inputs)
    const first = this.#firstChild
    if (first) {
      first.#previous = child
      child.#next = first
    }
    this.#firstChild = child
    return child
  }

  /** A scope inside this one that somebody else ends: the resource that holds it. */
  attach(kind: Kind): Scope {
    return new Scope(this.root, kind, this)
  }

  /** The scopes inside it that are open. */
  get children(): readonly Scope[] {
    const children: Scope[] = []
    for (let child = this.#firstChild; child; child = child.#next) children.push(child)
    return children
  }

  /** Resolves when no work is under way in the scopes inside it. */
  async idle(): Promise<void> {
    while (this.children.some((child) => child.working)) {
      await new Promise<void>((resolve) => (this.#onIdle = resolve))
    }
  }

  /** What this scope, or the nearest one around it that was entered with it, was given under that name. */
  input(name: string): unknown {
    for (let scope: Scope | undefined = this; scope; scope = scope.parent) {
      const value = scope.inputs?.[name]
      if (value !== undefined) return value
    }
    return undefined
  }

  /** This scope, or the one around it of that depth. */
  at(depth: number): Scope {
    // oxlint-disable-next-line no-this-alias -- walks up from here
    let scope: Scope = this
    while (scope.kind.depth > depth) scope = scope.parent!
    return scope
  }

  /** Is it open, in this scope or around it? */
  has(step: Step): boolean {
    return this.at(step.kind.depth).#values[step.slot] !== undefined
  }

  /** The value of an open resource. */
  valueOf(step: Step): unknown {
    const value = this.at(step.kind.depth).#values[step.slot]
    return value === VOID ? undefined : value
  }

  /** The values of a plan that is open, by key. */
  pick(plan: Plan): Record<string, unknown> {
    const values: Record<string, unknown> = {}
    for (const { key, step } of plan.picks) values[key] = this.valueOf(step)
    return values
  }

  /**
   * Opens what a plan wants and is not open yet: each as soon as what it stands on is open, in the scope where it belongs.
   * Gives nothing when all of it was synchronous. Throws or rejects with the first `Failure`; what else was opening goes
   * on, and belongs to the scope.
   *
   * @throws `ERR_SCOPE_CLOSED`, `Failure`
   */
  open(plan: Plan): Promise<void> | undefined {
    if (this.state !== 'open') throw scopeClosed(this, `open "${plan.picks[0]?.key ?? 'nothing'}"`)
    return openPlan(this, plan)
  }

  /** Starts the opening of a step whose dependencies are open; gives it when others have to wait for it. @throws `Failure` */
  start(step: Step): OpenContext | undefined {
    const pending = this.#pending?.[step.slot]
    if (pending) return pending
    if (this.state !== 'open') throw new Failure(step, openAborted(step))
    const context = new OpenContext(this, step)
    if (this.kind.depth === 0) this.#tellOpening(context)
    try {
      if (runOpener(context)) return undefined
    } catch (error) {
      throw this.#failed(context, error)
    }
    ;(this.#pending ??= [])[step.slot] = context
    if (step.definition.openTimeout !== undefined) this.#startClock(context, step.definition.openTimeout)
    return context
  }

  /** Is something inside it, or still opening? */
  get isBusy(): boolean {
    return this.#firstChild !== undefined || this.#pending?.some((context) => context !== undefined) === true
  }

  /** What is still opening. */
  get opening(): readonly OpenContext[] {
    return this.#pending?.filter((context) => context !== undefined) ?? []
  }

  /**
   * An opener's value has come. When the scope is not open any more, or nobody waits for it, it is closed at once, and the
   * opening has failed.
   */
  accept(context: OpenContext, value: unknown, held: Held | undefined): void {
    const { step } = context
    if (this.state !== 'open' || context.aborted) return void this.#closeLate(context, held)
    this.#values[step.slot] = value === undefined ? VOID : value
    if (held) (this.held ??= []).push(held)
    if (this.kind.depth === 0) {
      this.root.emit({ type: 'resource.opened', name: step.name, took: this.root.world.now() - context.began })
    }
    this.#forget(context)
    context.settle(undefined)
  }

  /** An opening that others wait for has failed: it is not remembered, the next use tries again. */
  reject(context: OpenContext, error: unknown): void {
    if (context.isOver) return
    const failure = this.#failed(context, error)
    this.#forget(context)
    context.settle(failure)
  }

  /**
   * Ends it: everyone who calls gets the same promise, or nothing when all of it was synchronous. Rejects with the error of
   * the one close that failed, or with `ERR_CLOSE` and all of them, in closing order.
   */
  end(ending: Ending, limit?: Deadline): Promise<void> | undefined {
    if (this.state !== 'open') return this.#closing
    this.state = 'closing'
    this.#closing = closeScope(this, ending, limit)
    return this.#closing
  }

  /** Closing is over: nothing is left in it. */
  left(): void {
    this.state = 'closed'
    this.#values = []
    this.held = undefined
    const { parent } = this
    if (!parent) return
    if (this.#previous) this.#previous.#next = this.#next
    else if (parent.#firstChild === this) parent.#firstChild = this.#next
    if (this.#next) this.#next.#previous = this.#previous
    parent.#onIdle?.()
  }

  /** A resource that it holds has died. */
  died(step: Step, error: unknown): void {
    this.root.died(step.name, error)
  }

  #tellOpening(context: OpenContext): void {
    this.root.emit({ type: 'resource.opening', name: context.name })
    context.began = this.root.world.now()
  }

  #failed(context: OpenContext, error: unknown): Failure {
    const { step, began } = context
    if (this.kind.depth === 0) {
      this.root.emit({ type: 'resource.failed', name: step.name, took: this.root.world.now() - began, error })
    }
    return new Failure(step, error)
  }

  #forget(context: OpenContext): void {
    const pending = this.#pending
    if (pending?.[context.step.slot] === context) pending[context.step.slot] = undefined
  }

  /** Past its limit it is asked to stop and no longer waited for; what it delivers then is closed at once. */
  #startClock(context: OpenContext, limit: number): void {
    context.stopClock = this.root.world.timer(limit, () => {
      const error = openTimeout(context.step, limit)
      this.root.emit({ type: 'resource.late', name: context.name, doing: 'opening', after: limit })
      context.abort(error)
      this.reject(context, error)
    })
  }

  async #closeLate(context: OpenContext, held: Held | undefined): Promise<void> {
    const { step } = context
    const reason = context.aborted ?? openAborted(step)
    try {
      await held?.end({ ok: false, error: reason })
      this.reject(context, reason)
    } catch (error) {
      this.root.emit({ type: 'error', message: `"${step.name}" was open too late, and closing it failed`, error })
      this.reject(context, new StewardError('ERR_OPEN_ABORTED', reason.message, { cause: error, errors: [error] }))
    }
  }
}

const VOID: unique symbol = Symbol('undefined')

/** An opener's own error, and which one it was. */
export class Failure {
  readonly step: Step
  readonly error: unknown

  constructor(step: Step, error: unknown) {
    this.step = step
    this.error = error
  }
}

/** The error of using a scope that has ended. */
export function scopeClosed(scope: Scope, doing: string): StewardError {
  const now = scope.state === 'closing' ? 'is closing' : 'is closed'
  return new StewardError(
    'ERR_SCOPE_CLOSED',
    `Cannot ${doing}: the ${scope.kind.name} scope ${now}; do it before the scope ends, or in a scope of its own`,
  )
}

function openAborted(step: Step): StewardError {
  return new StewardError('ERR_OPEN_ABORTED', `Cannot open "${step.name}": its ${step.kind.name} scope is closing`)
}

function openTimeout(step: Step, limit: number): StewardError {
  const stood = step.deps.map((dep) => `"${dep.step.name}"`).join(', ')
  return new StewardError(
    'ERR_OPEN_TIMEOUT',
    `Cannot open "${step.name}": it was not open after ${limit} ms${stood && ` (it stands on ${stood})`}; raise its openTimeout or see what it waits for`,
    { path: [step.name] },
  )
}

import type { Emit } from '../base/events.ts'
import type { Deadline } from '../base/deadline.ts'
import type { Release, World } from '../base/world.ts'
import { closeScope } from './close.ts'
import { Failure, isAnswer, openAborted, openTimeout, scopeClosed } from './failure.ts'
import type { Graph, Pick, Place, Plan, Step } from './graph.ts'
import type { Journal } from './journal.ts'
import { instanceKind, type Kind } from './kind.ts'
import { OpenContext } from './context.ts'
import { endHeld, runOpener, runUsual, strikingOff, type Held } from './opener.ts'
import { openPlan, type Opening } from './opening.ts'
import { notOk, type Ending } from './resource.ts'
import { tellCloseFailed, tellFailed, tellOpened, tellOpening, tellUnheard } from './told.ts'
import { promised, type Underway } from './underway.ts'

/** What all scopes of one running service, or of one `open`, share. */
export interface Root {
  readonly graph: Graph
  readonly world: World
  readonly emit: Emit
  readonly journal: Journal
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
  /** What it was entered with. */
  inputs: Inputs | undefined = undefined
  state: 'open' | 'closing' | 'closed' = 'open'
  /** What has to be closed with it, in the order of opening. */
  held: Held[] | undefined = undefined
  /** Is somebody's work under way in it, who will end it? */
  working = false
  /** Is one of its closes being called? Whoever ends it again from there must not wait for it. */
  disposing = false
  /** While an app starts: every opening that failed, in order. */
  failures: unknown[] | undefined = undefined
  /** What resources in it have died of: it did not end well. */
  deaths: unknown[] | undefined = undefined
  /** By slot: absent is `undefined`, an `undefined` value is VOID. */
  #values: unknown[] = [undefined, undefined, undefined, undefined]
  /** What is opening; absent when nothing is. */
  #pending: OpenContext[] | undefined = undefined
  #closing: Underway | undefined = undefined
  #ended: Promise<void> | undefined = undefined
  /** The scopes inside it that are open, as a list through their own links: entering one costs no set. */
  #firstChild: Scope | undefined = undefined
  #next: Scope | undefined = undefined
  #previous: Scope | undefined = undefined
  /** Pieces of work under way in it that do not end it. */
  #visitors = 0
  #idle: PromiseWithResolvers<void> | undefined = undefined

  constructor(root: Root, kind: Kind, parent?: Scope) {
    this.root = root
    this.kind = kind
    this.parent = parent
  }

  /**
   * Begins a scope inside this one, which ends it if nobody else has.
   *
   * @throws `ERR_SCOPE_CLOSED`
   */
  enter(kind: Kind, inputs?: Inputs): Scope {
    if (this.state !== 'open') throw scopeClosed(this, `enter a ${kind.name} scope`)
    const child = new Scope(this.root, kind, this)
    child.inputs = inputs
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

  /** Resolves when no work is under way in it, nor in the scopes inside it; gives nothing when none is. */
  idle(): Promise<void> | undefined {
    return this.#isWorking() ? this.#untilIdle() : undefined
  }

  async #untilIdle(): Promise<void> {
    while (this.#isWorking()) await (this.#idle ??= Promise.withResolvers()).promise
  }

  #isWorking(): boolean {
    return this.#visitors > 0 || this.children.some((child) => child.working || child.#isWorking())
  }

  /** Work begins in it that will not end it; the returned function tells that it is over. */
  visit(): Release {
    this.#visitors++
    return () => {
      this.#visitors--
      this.#tellIdle()
    }
  }

  /** Those who wait for it, or for a scope around it, look again. */
  #tellIdle(): void {
    if (this.#idle) this.#idle.resolve()
    this.#idle = undefined
    if (this.parent) this.parent.#tellIdle()
  }

  /** What this scope, or the nearest one around it that was entered with it, was given under that name. */
  input(name: string): unknown {
    const value = this.inputs?.[name]
    return value === undefined ? this.parent?.input(name) : value
  }

  /** This scope, or the one around it of that depth. */
  at(depth: number): Scope {
    return this.kind.depth > depth ? this.parent!.at(depth) : this
  }

  /** The scope where a step belongs. */
  ownerOf({ kind }: Place): Scope {
    return kind === this.kind ? this : this.at(kind.depth)
  }

  /** Is a step that belongs here open? */
  holds(step: Place): boolean {
    return this.#values[step.slot] !== undefined
  }

  /** Is it open, in this scope or around it? */
  has(step: Place): boolean {
    return this.ownerOf(step).holds(step)
  }

  /** The value of an open resource. */
  valueOf(step: Place): unknown {
    const value = this.ownerOf(step).#values[step.slot]
    return value === VOID ? undefined : value
  }

  /** The values of a plan that is open, by key. */
  pick(plan: Plan): Record<string, unknown> {
    return this.recordOf(plan.picks)
  }

  /** The values of open steps, by key. */
  recordOf(picks: readonly Pick[]): Record<string, unknown> {
    const values: Record<string, unknown> = {}
    for (let index = 0; index < picks.length; index++) {
      const pick = picks[index]!
      values[pick.key] = this.valueOf(pick)
    }
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
    const opening = this.beginOpen(plan)
    return opening && promised(opening)
  }

  /** The same for a caller who is to be told by a call. */
  beginOpen(plan: Plan): Opening | undefined {
    if (this.state !== 'open') throw scopeClosed(this, `open "${plan.picks[0]?.key ?? 'nothing'}"`)
    return openPlan(this, plan)
  }

  /** Starts the opening of a step whose dependencies are open; gives it when others have to wait for it. @throws `Failure` */
  start(step: Step): OpenContext | undefined {
    const pending = this.#pending && pendingOf(this.#pending, step)
    if (pending) return pending
    if (this.state !== 'open') throw new Failure(step, openAborted(step))
    const context = new OpenContext(this, step)
    if (step.isTold) tellOpening(context)
    try {
      if (runOpener(context)) return undefined
    } catch (error) {
      context.isOver = true
      throw this.#failed(context, error)
    }
    return this.#pend(context)
  }

  /**
   * Opens a step that belongs here and whose dependencies are open, in the short way. Is it open now? Gives the opening
   * when it takes its time; `false` when nothing has been done, since this is a case for `start`.
   *
   * @throws `Failure`
   */
  startNow(step: Step): OpenContext | boolean {
    if (!step.isUsual || this.#pending !== undefined || this.state !== 'open') return false
    const context = new OpenContext(this, step)
    try {
      if (runUsual(context)) return true
    } catch (error) {
      context.isOver = true
      throw this.#failed(context, error)
    }
    return this.#pend(context)
  }

  /** An opening that takes its time. @throws `Failure` when it has failed already */
  #pend(context: OpenContext): OpenContext {
    const { failure } = context
    if (failure) throw failure
    if (this.#pending) this.#pending.push(context)
    else this.#pending = [context]
    const { openTimeout } = context.step.definition
    if (openTimeout !== undefined) this.#startClock(context, openTimeout)
    return context
  }

  /** Is something inside it, or still opening? */
  get isBusy(): boolean {
    return this.#firstChild !== undefined || this.#pending !== undefined
  }

  /** What is still opening. */
  get opening(): readonly OpenContext[] {
    return this.#pending?.slice() ?? []
  }

  /** A value has come at once, to an opener that did nothing else: is it open now? */
  acceptNow(context: OpenContext, value: unknown, held: Held | undefined): boolean {
    if (this.state !== 'open' || context.isTouched) return this.accept(context, value, held)
    this.#values[context.step.slot] = value === undefined ? VOID : value
    if (held !== undefined) this.#hold(held)
    context.isOver = true
    return true
  }

  /**
   * An opener's value has come; is it open now? When the scope is not open any more, or nobody waits for it, it is closed
   * at once, and the opening has failed.
   */
  accept(context: OpenContext, value: unknown, close: Held | undefined): boolean {
    const held = strikingOff(context, close)
    if (this.state !== 'open' || context.aborted) {
      void this.#closeLate(context, held)
      return false
    }
    this.#values[context.step.slot] = value === undefined ? VOID : value
    if (held) this.#hold(held)
    if (context.step.isTold) tellOpened(context)
    if (context.isWaitedFor) this.#settle(context, undefined)
    else context.isOver = true
    return true
  }

  /** A generator gave its value out, which then failed: what comes after its yield runs all the same. */
  acceptFailed(context: OpenContext, error: unknown, held: Held): void {
    endHeld(held, { ok: false, error }).then(
      () => this.reject(context, error),
      (closeError: unknown) => {
        this.failures?.push(closeError)
        tellUnheard(context, closeError)
        this.reject(context, error)
      },
    )
  }

  #hold(held: Held): void {
    if (this.held) this.held.push(held)
    else this.held = [held]
  }

  /** An opening that others wait for has failed: it is not remembered, the next use tries again. */
  reject(context: OpenContext, error: unknown): void {
    const isNews = !isAnswer(error, context.aborted)
    if (context.isOver) {
      if (isNews && context.aborted) tellUnheard(context, error)
      return
    }
    const failure = this.#failed(context, error)
    const isHeard = this.#settle(context, failure)
    if (!isHeard && isNews && this.kind.depth > 0) tellUnheard(context, error)
  }

  /**
   * Ends it: everyone who calls gets the same promise, or nothing when all of it was synchronous. Rejects with the error of
   * the one close that failed, or with `ERR_CLOSE` and all of them, in closing order.
   */
  end(ending: Ending, limit?: Deadline): Promise<void> | undefined {
    const closing = this.beginEnd(ending, limit)
    return closing && (this.#ended ??= promised(closing))
  }

  /** The same for a caller who is to be told by a call. */
  beginEnd(ending: Ending, limit?: Deadline): Underway | undefined {
    if (this.state !== 'open') return this.disposing ? undefined : this.#closing
    this.state = 'closing'
    this.#closing = closeScope(this, this.deaths ? notOk(ending, this.deaths[0]) : ending, limit)
    return this.#closing
  }

  /** Closing is over: nothing is left in it. */
  left(): void {
    this.state = 'closed'
    this.#values = NO_VALUES
    this.held = undefined
    const { parent } = this
    if (!parent) return
    if (this.#previous) this.#previous.#next = this.#next
    else if (parent.#firstChild === this) parent.#firstChild = this.#next
    if (this.#next) this.#next.#previous = this.#previous
    this.#next = this.#previous = undefined
    parent.#tellIdle()
  }

  /**
   * A resource that it holds has died: one of the app stops the app, any other spoils its scope. Once the scope is
   * closing, that is no news.
   */
  died(step: Step, error: unknown): void {
    if (this.state !== 'open') return
    if (this.kind.depth === 0 || this.kind === instanceKind) this.root.died(step.name, error)
    else (this.deaths ??= []).push(error)
  }

  #failed(context: OpenContext, error: unknown): Failure {
    if (this.kind.depth === 0) tellFailed(context, error)
    if (this.failures && !isAnswer(error, context.aborted)) this.failures.push(error)
    return new Failure(context.step, error)
  }

  /** An opening that took its time is over. Did anybody still want to know? */
  #settle(context: OpenContext, failure: Failure | undefined): boolean {
    const pending = this.#pending
    if (pending) {
      if (pending.length === 1 && pending[0] === context) this.#pending = undefined
      else this.#pending = pending.filter((other) => other !== context)
    }
    return context.settle(failure)
  }

  /** Past its limit it is asked to stop and no longer waited for; what it delivers then is closed at once. */
  #startClock(context: OpenContext, limit: number): void {
    context.stopClock = this.root.world.timer(limit, () => {
      const error = openTimeout(context.step, limit)
      this.root.emit({ type: 'resource.late', name: context.name, doing: 'opening', after: limit })
      this.failures?.push(error)
      context.abort(error)
      this.reject(context, error)
    })
  }

  async #closeLate(context: OpenContext, held: Held | undefined): Promise<void> {
    const { step } = context
    context.abort(openAborted(step))
    const reason = context.aborted!
    try {
      if (held) await endHeld(held, { ok: false, error: reason })
    } catch (error) {
      this.failures?.push(error)
      tellCloseFailed(context, error)
    }
    this.reject(context, reason)
  }
}

/** A loop: `find` would make a closure for each resource of each request. */
function pendingOf(pending: readonly OpenContext[], step: Step): OpenContext | undefined {
  for (const context of pending) if (context.step === step) return context
  return undefined
}

const VOID: unique symbol = Symbol('undefined')
const NO_VALUES: unknown[] = []

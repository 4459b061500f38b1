import { atMost, Deadline } from '../base/deadline.ts'
import {
  childTimeout,
  closeFailure,
  closeTimeout,
  errorsOf,
  openingUnstopped,
  scopeClosed,
} from './failure.ts'
import type { Held } from './opener.ts'
import type { Ending } from './resource.ts'
import type { Scope } from './scope.ts'
import type { Underway, Waiter } from './underway.ts'

/**
 * Closes a scope: asks its openers to stop, ends the scopes within it, waits for what is opening, then closes what it
 * holds. Each is closed as soon as all that stand on it are closed; branches at the same time. One failure or late close
 * stops no other. Gives nothing when all of it was synchronous and went well.
 */
export function closeScope(scope: Scope, ending: Ending, limit?: Deadline): Underway | undefined {
  if (!limit && scope.kind.depth > 0 && !scope.isBusy && !scope.deaths) {
    const { held = NOTHING } = scope
    if (held.length === 0) {
      scope.left()
      return undefined
    }
    if (held.length === 1 && held[0]!.step.isBrief) return closeOne(scope, held[0]!, ending)
  }
  const closing = new Closing(scope, ending, limit)
  if (scope.isBusy) void closing.startBusy()
  else closing.start()
  return closing.isClean ? undefined : closing
}

/** The short way, for a request that has one thing to close: nobody waits for anybody. */
function closeOne(scope: Scope, held: Held, ending: Ending): Underway | undefined {
  let done: Promise<unknown> | void = undefined
  let failed: Failed | undefined
  scope.disposing = true
  try {
    done = held.end(ending)
  } catch (error) {
    failed = { error }
  }
  scope.disposing = false
  if (done) return new OneClosing(scope, held, done)
  scope.left()
  return failed && { tell: (waiter) => waiter.failed(failed.error) }
}

interface Failed {
  readonly error: unknown
}

/** A scope's only close, under way. Held by its promise. */
class OneClosing implements Underway {
  readonly #scope: Scope
  readonly #held: Held
  #isOver = false
  #failed: Failed | undefined = undefined
  #waiters: readonly Waiter[] = NOBODY

  constructor(scope: Scope, held: Held, done: Promise<unknown>) {
    this.#scope = scope
    this.#held = held
    void done.then(
      (last) => this.#ended(last),
      (error: unknown) => this.#finish({ error }),
    )
  }

  tell(waiter: Waiter): void {
    if (!this.#isOver) this.#waiters = [...this.#waiters, waiter]
    else if (this.#failed) waiter.failed(this.#failed.error)
    else waiter.done()
  }

  #ended(last: unknown): Promise<void> | void {
    const unended = this.#held.after?.(last)
    if (!unended) return this.#finish(undefined)
    return unended.catch((error: unknown) => this.#finish({ error }))
  }

  #finish(failed: Failed | undefined): void {
    this.#isOver = true
    this.#failed = failed
    this.#scope.left()
    for (const waiter of this.#waiters) this.tell(waiter)
  }
}

/**
 * One scope's closing. Held by the promises of the closes under way; over when the last of them has settled.
 *
 * What is still closing blocks what it stands on; each that has closed lets go of those. A scope in which all closes are
 * synchronous needs none of that.
 */
class Closing implements Underway {
  readonly #scope: Scope
  readonly #ending: Ending
  readonly #limit: Deadline | undefined
  /** In closing order. */
  #errors: unknown[] | undefined = undefined
  /** How many are being closed, or wait for those that stand on them. */
  #unfinished = 0
  /** By slot: how many that stand on it are not closed yet. */
  #blockers: number[] | undefined = undefined
  /** Blocked ones, those that stand on others first. */
  #waiting: Held[] = NOTHING
  #isOver = false
  #waiters: Waiter[] | undefined = undefined

  constructor(scope: Scope, ending: Ending, limit: Deadline | undefined) {
    this.#scope = scope
    this.#ending = ending
    this.#limit = limit
    this.#errors = scope.deaths
  }

  /** Is it over, and went well? */
  get isClean(): boolean {
    return this.#isOver && this.#errors === undefined
  }

  tell(waiter: Waiter): void {
    if (!this.#isOver) this.#waiters = this.#waiters ? [...this.#waiters, waiter] : [waiter]
    else if (this.#errors) waiter.failed(closeFailure(this.#scope, this.#errors))
    else waiter.done()
  }

  /** Closes what the scope holds, the last opened first. */
  start(): void {
    const held = inOpeningOrder(this.#scope)
    for (let index = held.length - 1; index >= 0; index--) {
      const one = held[index]!
      if (this.#isBlocked(one)) this.#wait(one)
      else if (!this.#close(one)) {
        // Nothing that is held can be below the first
        if (index > 0) this.#block(one)
        else this.#unfinished++
      }
    }
    if (this.#unfinished === 0) this.#finish()
  }

  async startBusy(): Promise<void> {
    const scope = this.#scope
    for (const context of scope.opening) context.abort(scopeClosed(scope, `open "${context.name}"`))
    await Promise.all(scope.children.map((child) => this.#endChild(child)))
    await this.#settleOpening()
    this.start()
  }

  /** An error of a child that was ended before is told to whoever did so. */
  async #endChild(child: Scope): Promise<void> {
    const isOurs = child.state === 'open'
    const limit = this.#limit && half(this.#limit)
    const cut = { ok: false, error: scopeClosed(this.#scope, 'go on') } as const
    try {
      const ended = child.end(cut, limit)
      if (!ended) return
      if (limit && (await atMost(ended, limit)) === 'late') this.#keep(childTimeout(child))
      else await ended
    } catch (error) {
      if (isOurs) for (const one of errorsOf(error)) this.#keep(one)
    }
  }

  /** What is opening gets its time to see the signal; past that it is named, and closed when it comes. */
  async #settleOpening(): Promise<void> {
    const scope = this.#scope
    const { world, emit } = scope.root
    const pending = scope.opening
    if (pending.length === 0) return
    const began = world.now()
    const settled = Promise.all(pending.map((context) => context.over()))
    if (!this.#limit) return void (await settled)
    if ((await atMost(settled, half(this.#limit))) === 'done') return
    for (const context of scope.opening) {
      const error = openingUnstopped(context.name)
      emit({
        type: 'resource.late',
        name: context.name,
        doing: 'opening',
        after: world.now() - began,
      })
      this.#keep(error)
      scope.reject(context, error)
    }
  }

  #isBlocked(held: Held): boolean {
    return this.#blockers !== undefined && this.#blockers[held.step.slot]! > 0
  }

  #wait(held: Held): void {
    if (this.#waiting === NOTHING) this.#waiting = []
    this.#waiting.push(held)
    this.#block(held)
  }

  /** It is not closed yet, so nothing that it stands on may be. */
  #block({ step }: Held): void {
    this.#unfinished++
    if (step.below.size === 0) return
    const blockers = (this.#blockers ??= [])
    for (const slot of step.below) blockers[slot] = (blockers[slot] ?? 0) + 1
  }

  #unblock({ step }: Held): void {
    this.#unfinished--
    const blockers = this.#blockers
    if (blockers) for (const slot of step.below) blockers[slot]!--
  }

  /** A close that was waited for is over: those that waited for it follow, in order. */
  #closed(held: Held, began: number, failed?: { readonly error: unknown }): void {
    this.#tellClosed(held, began, failed)
    this.#unblock(held)
    const waiting = this.#waiting
    if (waiting.length > 0) {
      this.#waiting = []
      for (const one of waiting) {
        if (this.#isBlocked(one)) this.#waiting.push(one)
        else if (this.#close(one)) this.#unblock(one)
      }
    }
    if (this.#unfinished === 0) this.#finish()
  }

  #finish(): void {
    this.#isOver = true
    this.#scope.left()
    for (const waiter of this.#waiters ?? NOBODY) this.tell(waiter)
  }

  #keep(error: unknown): void {
    ;(this.#errors ??= []).push(error)
  }

  /** Closes one; was it synchronous? Else its end is told to `#closed`. */
  #close(held: Held): boolean {
    const began = this.#tellClosing(held)
    const done = this.#end(held, began)
    if (!done) return true
    const limit = limitOf(held, this.#scope, this.#limit)
    void (limit ? this.#inTime({ held, began, done }, limit) : done).then(
      (last) => this.#ended(held, began, last),
      (error: unknown) => this.#closed(held, began, { error }),
    )
    return false
  }

  #ended(held: Held, began: number, last: unknown): Promise<void> | void {
    const unended = held.after?.(last)
    if (!unended) return this.#closed(held, began)
    return unended.catch((error: unknown) => this.#closed(held, began, { error }))
  }

  /** Gives nothing when it was synchronous, well or not. */
  #end(held: Held, began: number): Promise<unknown> | undefined {
    const scope = this.#scope
    scope.disposing = true
    try {
      const done = held.end(this.#ending)
      if (done) return done
      this.#tellClosed(held, began)
    } catch (error) {
      this.#tellClosed(held, began, { error })
    } finally {
      scope.disposing = false
    }
    return undefined
  }

  async #inTime({ held, began, done }: Ongoing, limit: Deadline): Promise<unknown> {
    if ((await atMost(done, limit)) === 'done') return done
    const { world, emit } = this.#scope.root
    const { name } = held.step
    const after = world.now() - began
    emit({ type: 'resource.late', name, doing: 'closing', after })
    done.catch((error: unknown) =>
      emit({
        type: 'error',
        message: `"${name}" had been abandoned, and then its close failed`,
        error,
      }),
    )
    throw closeTimeout(name, after)
  }

  #tellClosing({ step }: Held): number {
    const { root, kind } = this.#scope
    if (kind.depth > 0) return step.definition.closeTimeout === undefined ? 0 : root.world.now()
    root.emit({ type: 'resource.closing', name: step.name })
    return root.world.now()
  }

  #tellClosed({ step }: Held, began: number, failed?: { readonly error: unknown }): void {
    if (failed) this.#keep(failed.error)
    const { root, kind } = this.#scope
    if (kind.depth > 0) return
    root.emit({
      type: 'resource.closed',
      name: step.name,
      took: root.world.now() - began,
      ...failed,
    })
  }
}

/** A close under way. */
interface Ongoing {
  readonly held: Held
  readonly began: number
  readonly done: Promise<unknown>
}

const NOTHING: Held[] = []
const NOBODY: readonly Waiter[] = []

function half(limit: Deadline): Deadline {
  return limit.atMost(limit.remaining / 2)
}

/** Its own limit, within its share of what is left: what stands below it must have time to close too. */
function limitOf({ step }: Held, scope: Scope, limit: Deadline | undefined): Deadline | undefined {
  const own = step.definition.closeTimeout
  if (!limit) return own === undefined ? undefined : Deadline.in(own, scope.root.world)
  const share = limit.remaining / (1 + step.height)
  return limit.atMost(own === undefined ? share : Math.min(own, share))
}

/** The order of opening is one in which everything comes after what it stands on, unless that was found out later. */
function inOpeningOrder(scope: Scope): readonly Held[] {
  const { held: opened = NOTHING } = scope
  if (scope.kind.depth > 0 || !scope.root.graph.grown) return opened
  const bySlot = new Map(opened.map((held) => [held.step.slot, held]))
  const order = new Set<Held>()
  const visit = (held: Held): void => {
    if (order.has(held)) return
    for (const slot of held.step.below) {
      const lower = bySlot.get(slot)
      if (lower) visit(lower)
    }
    order.add(held)
  }
  for (const held of opened) visit(held)
  return [...order]
}

import { atMost, Deadline } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Held } from './opener.ts'
import type { Ending } from './resource.ts'
import { scopeClosed, type Scope } from './scope.ts'

/**
 * Closes a scope: asks its openers to stop, ends the scopes within it, waits for what is opening, then closes what it
 * holds. Each is closed as soon as all that stand on it are closed; branches at the same time. One failure or late close
 * stops no other. Gives nothing when all of it was synchronous and went well.
 */
export function closeScope(scope: Scope, ending: Ending, limit?: Deadline): Promise<void> | undefined {
  if (scope.isBusy) return closeBusy(scope, ending, limit)
  return closeHeld(scope, { ending, limit, errors: undefined })
}

interface Closing {
  readonly ending: Ending
  readonly limit: Deadline | undefined
  /** In closing order. */
  errors: unknown[] | undefined
}

async function closeBusy(scope: Scope, ending: Ending, limit?: Deadline): Promise<void> {
  const errors: unknown[] = []
  for (const context of scope.opening) context.abort(scopeClosed(scope, `open "${context.name}"`))
  const cut: Ending = { ok: false, error: scopeClosed(scope, 'go on') }
  await Promise.all(scope.children.map((child) => endChild(child, cut, { limit, errors })))
  await settleOpening(scope, limit, errors)
  await closeHeld(scope, { ending, limit, errors })
}

async function endChild(child: Scope, ending: Ending, given: { limit: Deadline | undefined; errors: unknown[] }): Promise<void> {
  try {
    await child.end(ending, given.limit)
  } catch (error) {
    given.errors.push(error)
  }
}

/** What is opening gets its time to see the signal; past that it is named, and closed when it comes. */
async function settleOpening(scope: Scope, limit: Deadline | undefined, errors: unknown[]): Promise<void> {
  const { world, emit } = scope.root
  const pending = scope.opening
  if (pending.length === 0) return
  const began = world.now()
  const settled = Promise.all(pending.map((context) => context.over()))
  if (!limit) return void (await settled)
  if ((await atMost(settled, limit.atMost(limit.remaining / 2))) === 'done') return
  for (const { name } of scope.opening) {
    emit({ type: 'resource.late', name, doing: 'opening', after: world.now() - began })
    errors.push(
      new StewardError('ERR_OPEN_TIMEOUT', `Cannot stop the opening of "${name}": it did not heed its signal; it is closed when it comes`),
    )
  }
}

function closeHeld(scope: Scope, closing: Closing): Promise<void> | undefined {
  const held = inOpeningOrder(scope)
  let blockers: Promise<void>[][] | undefined
  let all: Promise<void>[] | undefined
  for (let index = held.length - 1; index >= 0; index--) {
    const one = held[index]!
    const before = blockers?.[one.step.slot]
    const done = before
      ? Promise.all(before).then(() => closeOne(scope, one, closing))
      : closeOne(scope, one, closing)
    if (!done) continue
    ;(all ??= []).push(done)
    if (one.step.below.size === 0) continue
    blockers ??= []
    for (const slot of one.step.below) (blockers[slot] ??= []).push(done)
  }
  if (!all) return closedNow(scope, closing)
  return (all.length === 1 ? all[0]! : Promise.all(all)).then(() => closed(scope, closing))
}

/** All of it was synchronous: an error becomes a rejection all the same, so that callers have one way to hear of it. */
function closedNow(scope: Scope, closing: Closing): Promise<void> | undefined {
  scope.left()
  return closing.errors?.length ? Promise.reject(failure(scope, closing.errors)) : undefined
}

function closed(scope: Scope, closing: Closing): void {
  scope.left()
  if (closing.errors?.length) throw failure(scope, closing.errors)
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

const NOTHING: readonly Held[] = []

/** Closes one; never rejects: its error is kept. Gives nothing when it was synchronous. */
function closeOne(scope: Scope, held: Held, closing: Closing): Promise<void> | undefined {
  const ongoing: Ongoing = { held, began: scope.kind.depth === 0 ? tellClosing(scope, held) : 0 }
  try {
    const done = held.end(closing.ending)
    const limit = done && limitOf(held, scope, closing.limit)
    if (limit) return closeInTime(scope, { ...ongoing, done }, { closing, limit })
    if (done) return done.then(() => tellClosed(scope, ongoing), (error: unknown) => keep(scope, ongoing, { closing, error }))
    tellClosed(scope, ongoing)
  } catch (error) {
    keep(scope, ongoing, { closing, error })
  }
  return undefined
}

interface Ongoing {
  readonly held: Held
  readonly began: number
}

function keep(scope: Scope, ongoing: Ongoing, { closing, error }: { closing: Closing; error: unknown }): void {
  ;(closing.errors ??= []).push(error)
  tellClosed(scope, ongoing, { error })
}

async function closeInTime(
  scope: Scope,
  ongoing: Ongoing & { readonly done: Promise<void> },
  { closing, limit }: { closing: Closing; limit: Deadline },
): Promise<void> {
  try {
    if ((await atMost(ongoing.done, limit)) === 'late') throw closeLate(scope, ongoing)
    tellClosed(scope, ongoing)
  } catch (error) {
    keep(scope, ongoing, { closing, error })
  }
}

/** Its own limit, within its share of what is left: what stands below it must have time to close too. */
function limitOf(held: Held, scope: Scope, limit: Deadline | undefined): Deadline | undefined {
  const own = held.step.definition.closeTimeout
  if (!limit) return own === undefined ? undefined : Deadline.in(own, scope.root.world)
  const share = limit.remaining / (1 + held.step.height)
  return limit.atMost(own === undefined ? share : Math.min(own, share))
}

function closeLate(scope: Scope, { held, done, began }: Ongoing & { readonly done: Promise<void> }): StewardError {
  const { world, emit } = scope.root
  const { name } = held.step
  const after = world.now() - began
  emit({ type: 'resource.late', name, doing: 'closing', after })
  done.catch((error) => emit({ type: 'error', message: `"${name}" had been abandoned, and then its close failed`, error }))
  return new StewardError(
    'ERR_CLOSE_TIMEOUT',
    `Cannot wait for the close of "${name}": it was not closed after ${Math.round(after)} ms; raise its closeTimeout, or the graceful timeout, or see what it waits for`,
    { path: [name] },
  )
}

function tellClosing(scope: Scope, held: Held): number {
  scope.root.emit({ type: 'resource.closing', name: held.step.name })
  return scope.root.world.now()
}

function tellClosed(scope: Scope, { held, began }: Ongoing, failed?: { error: unknown }): void {
  if (scope.kind.depth > 0) return
  const took = scope.root.world.now() - began
  scope.root.emit({ type: 'resource.closed', name: held.step.name, took, ...failed })
}

/** One error is handed on as it is; several become one that has them all. */
function failure(scope: Scope, errors: readonly unknown[]): unknown {
  if (errors.length === 1) return errors[0]
  return new StewardError(
    'ERR_CLOSE',
    `Cannot close the ${scope.kind.name} scope cleanly: ${errors.length} of its closes failed; each is in "errors"`,
    { errors, cause: errors[0] },
  )
}

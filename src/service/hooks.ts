import { atMost, type Deadline } from '../base/deadline.ts'
import { describe, describeError, StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import type { Release, World } from '../base/world.ts'

/** What a hook is given beside the resources. */
export interface HookContext {
  /** Aborted when the hook has outlived its share of the budget and is no longer waited for, or the start is stopped. */
  readonly signal: AbortSignal
}

/** A function that runs at one moment of a service's life, with its resources. */
export type Hook<Values> = (values: Values, context: HookContext) => unknown

/** Two halves around the life of a service: before its `yield` at start, after it at the end. */
export type Lifespan<Values> = (values: Values) => AsyncGenerator<void, void, void>

/** A hook as it is run: named, its values filled in. */
export interface BoundHook {
  readonly name: string
  run(context: HookContext): unknown
}

/** Hooks of one kind, in order of registration. */
export function bindHooks(
  kind: string,
  hooks: readonly Hook<never>[],
  values: unknown,
): BoundHook[] {
  return hooks.map((hook, index) => ({
    name: hooks.length > 1 ? `${kind} ${index + 1}` : kind,
    run: (context) => hook(values as never, context),
  }))
}

/** What running a hook takes. */
export interface HookSetting {
  readonly emit: Emit
  readonly world: World
  /** Until when it is waited for. */
  readonly limit: Deadline
  /** Handed on to the hook: the start is stopped. */
  readonly signal?: AbortSignal
}

/**
 * Runs a hook, at most until its limit; past that it is told by its signal, named, and abandoned.
 *
 * @throws `ERR_HOOK` with the hook's own error as the cause, `ERR_HOOK_TIMEOUT`
 */
export async function runHook(hook: BoundHook, setting: HookSetting): Promise<void> {
  const { emit, world } = setting
  const { name } = hook
  const began = world.now()
  const controller = new AbortController()
  const unfollow = follow(setting.signal, controller)
  emit({ type: 'hook.started', name })
  try {
    const work = (async () => hook.run({ signal: controller.signal }))()
    if ((await atMost(work, setting.limit)) === 'late') {
      tellAfterwards(name, work, emit)
      throw hookLate(name, world.now() - began)
    }
    emit({ type: 'hook.ended', name, took: world.now() - began })
  } catch (cause) {
    const error = cause instanceof HookLate ? cause.error : hookFailed(name, cause)
    const took = world.now() - began
    if (cause instanceof HookLate) emit({ type: 'hook.late', name, after: took })
    emit({ type: 'hook.ended', name, took, error })
    controller.abort(error)
    throw error
  } finally {
    unfollow()
  }
}

function follow(signal: AbortSignal | undefined, controller: AbortController): Release {
  if (!signal) return () => {}
  const abort = (): void => controller.abort(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  return () => signal.removeEventListener('abort', abort)
}

/** Nobody waits for it any more; what becomes of it is told all the same. */
function tellAfterwards(name: string, work: Promise<unknown>, emit: Emit): void {
  work.catch((error: unknown) =>
    emit({ type: 'error', message: `${name} had been abandoned, and then it failed`, error }),
  )
}

/**
 * The lifespan's two halves as hooks, once each.
 *
 * ```
 * before ── first half comes to its yield ──▶ within ── second half ──▶ over
 *    └── second half is due ──▶ over: should the first half come to its yield now, the second follows at once
 * ```
 */
export class LifespanHooks {
  readonly before: BoundHook
  readonly after: BoundHook
  readonly #lifespan: Lifespan<never>
  #state: 'before' | 'within' | 'over' = 'before'
  #generator: AsyncGenerator<void, void, void> | undefined

  constructor(lifespan: Lifespan<never>, values: unknown) {
    this.#lifespan = lifespan
    this.before = { name: 'lifespan before its yield', run: () => this.#enter(values) }
    this.after = { name: 'lifespan after its yield', run: () => this.#leave() }
  }

  /** What is still to be run of it, from now on: the second half, when the first has come to its yield. */
  due(): BoundHook[] {
    if (this.#state === 'within') return [this.after]
    this.#state = 'over'
    return []
  }

  async #enter(values: unknown): Promise<void> {
    const generator = this.#lifespan(values as never)
    if (typeof generator?.next !== 'function') throw notGenerator(generator)
    if ((await generator.next()).done) {
      throw lifespanError('run the lifespan', 'it ended without a yield')
    }
    if (this.#state === 'over') return secondHalf(generator)
    this.#generator = generator
    this.#state = 'within'
  }

  async #leave(): Promise<void> {
    this.#state = 'over'
    await secondHalf(this.#generator!)
  }
}

async function secondHalf(generator: AsyncGenerator<void, void, void>): Promise<void> {
  if ((await generator.next()).done) return
  await generator.return()
  throw lifespanError('end the lifespan', 'it yielded a second time')
}

class HookLate {
  readonly error: StewardError

  constructor(error: StewardError) {
    this.error = error
  }
}

function hookLate(name: string, after: number): HookLate {
  return new HookLate(
    new StewardError(
      'ERR_HOOK_TIMEOUT',
      `Cannot wait for ${name}: it had not ended after ${Math.round(after)} ms, its share of the budget; heed its signal, or raise the graceful timeout`,
    ),
  )
}

/** Our own errors say what they mean already. */
function hookFailed(name: string, cause: unknown): unknown {
  if (cause instanceof StewardError && cause.code === 'ERR_LIFESPAN') return cause
  return new StewardError('ERR_HOOK', `Cannot finish ${name}: ${describeError(cause)}`, { cause })
}

function lifespanError(doing: string, found: string): StewardError {
  return new StewardError(
    'ERR_LIFESPAN',
    `Cannot ${doing}: ${found}, yield once where the service runs`,
  )
}

function notGenerator(found: unknown): StewardError {
  return new StewardError(
    'ERR_LIFESPAN',
    `Cannot run the lifespan: it gave ${describe(found)}, write it as async *lifespan() { …; yield; … }`,
  )
}

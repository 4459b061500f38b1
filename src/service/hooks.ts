import { atMost, type Deadline } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import type { World } from '../base/world.ts'

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
export function bindHooks(kind: string, hooks: readonly Hook<never>[], values: unknown): BoundHook[] {
  return hooks.map((hook, index) => ({
    name: hooks.length > 1 ? `${kind} ${index + 1}` : kind,
    run: (context) => hook(values as never, context),
  }))
}

/** What running a hook takes. */
export interface HookSetting {
  readonly emit: Emit
  readonly world: World
}

/**
 * Runs a hook, at most until its limit; past that it is told by its signal, named, and abandoned.
 *
 * @throws `ERR_HOOK` with the hook's own error as the cause, `ERR_HOOK_TIMEOUT`
 */
export async function runHook(
  hook: BoundHook,
  limit: Deadline | undefined,
  setting: HookSetting & { signal?: AbortSignal | undefined },
): Promise<void> {
  const { emit, world } = setting
  const began = world.now()
  const controller = new AbortController()
  const forward = (): void => controller.abort(setting.signal?.reason)
  setting.signal?.addEventListener('abort', forward, { once: true })
  emit({ type: 'hook.started', name: hook.name })
  try {
    const work = (async () => hook.run({ signal: controller.signal }))()
    if (limit && (await atMost(work, limit)) === 'late') throw hookLate(hook.name, world.now() - began)
    await work
    emit({ type: 'hook.ended', name: hook.name, took: world.now() - began })
  } catch (cause) {
    const error = cause instanceof HookLate ? cause.error : hookFailed(hook.name, cause)
    if (cause instanceof HookLate) emit({ type: 'hook.late', name: hook.name, after: world.now() - began })
    emit({ type: 'hook.ended', name: hook.name, took: world.now() - began, error })
    controller.abort(error)
    throw error
  } finally {
    setting.signal?.removeEventListener('abort', forward)
  }
}

/** The lifespan's two halves as hooks; the second does nothing unless the first has come to its yield. */
export function bindLifespan(lifespan: Lifespan<never>, values: unknown): { before: BoundHook; after: BoundHook } {
  let around: AsyncGenerator<void, void, void> | undefined
  return {
    before: {
      name: 'lifespan before its yield',
      run: async () => {
        const generator = lifespan(values as never)
        if (typeof generator?.next !== 'function') throw notGenerator(generator)
        const { done } = await generator.next()
        if (done) throw new StewardError('ERR_LIFESPAN', 'Cannot run the lifespan: it ended without a yield, yield once where the service runs')
        around = generator
      },
    },
    after: {
      name: 'lifespan after its yield',
      run: async () => {
        if (!around || (await around.next()).done) return
        await around.return()
        throw new StewardError('ERR_LIFESPAN', 'Cannot end the lifespan: it yielded a second time, yield once where the service runs')
      },
    },
  }
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

function hookFailed(name: string, cause: unknown): StewardError {
  const what = cause instanceof Error ? cause.message : describe(cause)
  return new StewardError('ERR_HOOK', `Cannot finish ${name}: ${what}`, { cause })
}

function notGenerator(found: unknown): StewardError {
  return new StewardError(
    'ERR_LIFESPAN',
    `Cannot run the lifespan: it gave ${describe(found)}, write it as async *lifespan() { …; yield; … }`,
  )
}

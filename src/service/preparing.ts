import { Deadline } from '../base/deadline.ts'
import { App } from '../scope/app.ts'
import { errorsOf } from '../scope/failure.ts'
import { definitionOf, type Ending, type Resources } from '../scope/resource.ts'
import { bindHooks } from './hooks.ts'
import type { ServiceDefinition } from './service.ts'
import type { RunSettings } from './settings.ts'
import { died, runStartHook, valuesOf, withErrors, type StartSetting } from './starting.ts'
import { KeptJournal } from './state.ts'

/** What `prepare` is run with: closing what it has opened may take the graceful timeout. */
type PrepareSetting = StartSetting &
  Pick<RunSettings, 'state' | 'with' | 'gracefulTimeout' | 'isPrepared'>

/**
 * Runs what a service has to do once before it is started. What that needs is opened in a scope of its own, which is closed before this
 * resolves: the listed resources for hooks; for a resource, itself and what it stands on. Does nothing where there is nothing to do, or where it is done.
 *
 * @throws `ERR_OPEN`, `ERR_OPEN_ABORTED`, `ERR_HOOK`, `ERR_HOOK_TIMEOUT`, the signal's reason, what fails to close
 */
export async function prepareOnce(
  definition: ServiceDefinition,
  setting: PrepareSetting,
): Promise<void> {
  const { state, emit, world, isPrepared } = setting
  if (isPrepared || !definition.prepares) return
  const journal = state === undefined ? undefined : new KeptJournal(state, definition.name, setting)
  const death = new AbortController()
  const signal = AbortSignal.any([setting.signal, death.signal])
  const app = new App({
    emit,
    world,
    with: setting.with,
    journal,
    inputs: { stopping: signal, signal },
    died: (name, error) => death.abort(died(name, error)),
  })
  const error = await run(app, definition, { ...setting, signal }).then(
    () => undefined,
    (cause: unknown) => cause,
  )
  const errors = await close(app, error, setting)
  await journal?.close().catch((cause: unknown) => void errors.push(cause))
  const all = error === undefined ? errors : [error, ...errors]
  if (all.length > 0) throw withErrors(all[0], all.slice(1))
}

async function run(
  app: App,
  { prepare, resources }: ServiceDefinition,
  setting: PrepareSetting,
): Promise<void> {
  const wanted = definitionOf(prepare) ? ({ prepare } as Resources) : resources
  await app.open([wanted], { signal: setting.signal, rollback: setting.gracefulTimeout })
  for (const hook of bindHooks('prepare', hooksOf(prepare), valuesOf(app, resources))) {
    await runStartHook(hook, setting)
  }
}

function hooksOf(prepare: ServiceDefinition['prepare']): Parameters<typeof bindHooks>[1] {
  return Array.isArray(prepare) ? (prepare as Parameters<typeof bindHooks>[1]) : []
}

/** Gives what failed in it. An opening that has failed has closed what it had opened. */
async function close(
  { scope }: App,
  error: unknown,
  { gracefulTimeout, world }: PrepareSetting,
): Promise<unknown[]> {
  if (scope.state !== 'open') return []
  const ending: Ending = error === undefined ? { ok: true } : { ok: false, error }
  const closing = scope.end(ending, Deadline.in(gracefulTimeout, world))
  return [...((await closing?.then(() => [], errorsOf)) ?? [])]
}

import type { Deadline } from '../base/deadline.ts'
import { describeError, isStewardError, StewardError } from '../base/errors.ts'
import type { Emit, ServiceEvent } from '../base/events.ts'
import type { World } from '../base/world.ts'
import { checkOverrides, type App, type OpenLimits } from '../scope/app.ts'
import { errorsOf } from '../scope/failure.ts'
import { definitionOf, type Resources } from '../scope/resource.ts'
import { adopt, frameworkOf, type Adopted } from './framework.ts'
import { bindHooks, LifespanHooks, runHook, type BoundHook } from './hooks.ts'
import { wantedBy } from './injected.ts'
import { isApp, notUsable, type ServedApp, type ServiceDefinition } from './service.ts'

/**
 * Opens what a service holds; then the framework of its app, where that has a life of its own; then, since only now it can
 * be told, what its routes inject. Gives the app. When it fails, what is open by then is left to whoever undoes the start.
 *
 * @throws `ERR_OPEN`, `ERR_OPEN_ABORTED`, `ERR_APP_NOT_USABLE`, `ERR_OVERRIDE_UNUSED`
 */
export async function openAll(
  scope: App,
  definition: ServiceDefinition,
  limits: OpenLimits,
): Promise<Adopted | undefined> {
  const { app } = definition
  const deps = (definitionOf(app) ? { app } : {}) as Resources
  // An app with a disposer, such as Fastify's, is closed as its framework wants it
  for (const { step } of scope.graph.plan(deps).picks) step.disposerSeen = true
  await scope.open(wantedBy(definition), limits)
  const served = definitionOf(app) ? scope.scope.valueOf(scope.graph.find(app)!) : app
  if (served !== undefined && !isApp(served)) throw notUsable(served)
  const adopted = served === undefined ? undefined : await adoptIn(scope, { served, deps }, limits)
  if (adopted) await scope.open(adopted.injected, limits)
  checkOverrides(scope.graph.unused)
  return adopted
}

/** What its framework stands on is closed after it. */
async function adoptIn(
  scope: App,
  { served, deps }: { served: ServedApp; deps: Resources },
  limits: OpenLimits,
): Promise<Adopted> {
  const framework = frameworkOf(served, deps)
  if (!framework) return adopt(served)
  await scope.open([{ framework }], limits)
  return scope.scope.valueOf(scope.graph.find(framework)!) as Adopted
}

/** What of these is open: a lazy one may not be. */
export function valuesOf({ graph, scope }: App, resources: Resources): Record<string, unknown> {
  const plan = graph.plan(resources)
  return scope.pick({ ...plan, picks: plan.picks.filter(({ step }) => scope.has(step)) })
}

/** The hooks of one run, and how far its start has come with them. */
export class StartHooks {
  readonly #definition: ServiceDefinition
  readonly #values: unknown
  readonly #lifespan: LifespanHooks | undefined
  readonly #adopted: Adopted | undefined

  constructor(definition: ServiceDefinition, values: unknown, adopted?: Adopted) {
    this.#definition = definition
    this.#values = values
    this.#adopted = adopted
    this.#lifespan = definition.lifespan && new LifespanHooks(definition.lifespan, values)
  }

  /** The lifespan up to its yield, then `onStartup`; nothing more once `signal` is aborted. @throws `ERR_HOOK`, `ERR_HOOK_TIMEOUT`, `ERR_LIFESPAN` */
  async run(setting: StartSetting): Promise<void> {
    const before = this.#lifespan ? [this.#lifespan.before] : []
    for (const hook of [...before, ...this.#bound('onStartup')]) {
      await runStartHook(hook, setting)
    }
  }

  /** In the order in which they run. */
  onShutdown(): BoundHook[] {
    const { onShutdown } = this.#adopted ?? {}
    return [...this.#bound('onShutdown').toReversed(), ...(onShutdown ? [onShutdown] : [])]
  }

  /** What to do where the routes of the app could not be looked at. */
  get advice(): string | undefined {
    return this.#adopted?.advice
  }

  /** In the order in which they run, and after them what is due of the lifespan. */
  onDrained(): BoundHook[] {
    return [...this.#bound('onDrained').toReversed(), ...this.toUndo()]
  }

  /** What a failed start has to run. */
  toUndo(): BoundHook[] {
    return this.#lifespan?.due() ?? []
  }

  #bound(kind: 'onStartup' | 'onShutdown' | 'onDrained'): BoundHook[] {
    return bindHooks(kind, this.#definition[kind], this.#values)
  }
}

/** What the hooks of a start are run with. */
export interface StartSetting {
  readonly emit: Emit
  readonly world: World
  /** Aborted when the start is stopped. */
  readonly signal: AbortSignal
  /** Never, until the start is stopped: then a hook gets its share to see its signal. */
  readonly limit: Deadline
}

/** Runs one hook of a start. One that just says that it was stopped has not failed. @throws `ERR_HOOK`, `ERR_HOOK_TIMEOUT`, the signal's reason */
export async function runStartHook(hook: BoundHook, setting: StartSetting): Promise<void> {
  const { signal } = setting
  signal.throwIfAborted()
  try {
    await runHook(hook, setting)
  } catch (error) {
    throw isAnswer(error, signal) ? signal.reason : error
  }
  signal.throwIfAborted()
}

function isAnswer(error: unknown, { aborted, reason }: AbortSignal): boolean {
  if (!aborted || !isStewardError(error, 'ERR_HOOK')) return false
  const { cause } = error
  return (
    cause === reason ||
    (cause instanceof Error && (cause.name === 'AbortError' || cause.cause === reason))
  )
}

/** Warns of each resource that a request is the first to open: it was not found in the routes, so its first user waits. */
export function warnOfLateOpenings(
  app: App,
  emit: Emit,
  advice: string | undefined,
): (event: ServiceEvent) => void {
  const first = advice === undefined ? '' : `${advice} `
  const told = new Set<string>()
  return (event) => {
    if (event.type !== 'resource.opening' || told.has(event.name)) return
    const { name } = event
    const step = app.graph.steps.find((one) => one.name === name && one.kind.depth === 0)
    if (step?.definition.options.lazy) return
    told.add(name)
    emit({
      type: 'warning',
      message: `"${name}" opens at its first use: no route or option told of it before; ${first}list it in the service's resources, or make it lazy`,
    })
  }
}

/** The first error, and after it what failed in the undoing. */
export function withErrors(error: unknown, undoing: readonly unknown[]): unknown {
  if (undoing.length === 0) return error
  const first = isStewardError(error) ? error : undefined
  const known = first && first.errors.length > 0 ? first.errors : [error]
  return new StewardError(
    first?.code ?? 'ERR_OPEN',
    `${describeError(error)} (and ${undoing.length} more while undoing the start, in "errors")`,
    { cause: first?.cause ?? error, errors: [...known, ...undoing], path: first?.path ?? [] },
  )
}

/** The error of a resource that has died. */
export function died(name: string, error: unknown): StewardError {
  return new StewardError(
    'ERR_RESOURCE_DIED',
    `Cannot go on: "${name}" has died: ${describeError(error)}`,
    { cause: error, path: [name] },
  )
}

/** Keeps every error of a failure, in order. */
export function into(errors: unknown[]): (error: unknown) => void {
  return (error) => void errors.push(...errorsOf(error))
}

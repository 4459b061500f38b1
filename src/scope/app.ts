import { Deadline } from '../base/deadline.ts'
import { describeError, isStewardError, StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { realWorld, type World } from '../base/world.ts'
import { Graph, pathTo, type Plan } from './graph.ts'
import { appKind } from './kind.ts'
import type { Override } from './override.ts'
import { definitionOf, type AnyResource, type Resources } from './resource.ts'
import { Failure, Scope, type Inputs, type Root } from './scope.ts'

/** What an app scope is made with. */
export interface AppOptions {
  with?: readonly Override[] | undefined
  emit?: Emit | undefined
  world?: World | undefined
  /** Told when a resource that is open has died. */
  died?: ((name: string, error: unknown) => void) | undefined
  /** For the built-in resources. */
  inputs?: Inputs | undefined
}

/** The app scope of one running service, or of one `open`: its graph, and what is open in it. */
export class App {
  readonly graph: Graph
  readonly scope: Scope
  readonly root: Root

  constructor(options: AppOptions = {}) {
    this.graph = new Graph(options.with)
    this.root = {
      graph: this.graph,
      world: options.world ?? realWorld,
      emit: options.emit ?? (() => {}),
      died: options.died ?? (() => {}),
    }
    this.scope = new Scope(this.root, appKind, undefined, options.inputs)
  }

  /**
   * Opens these and all they stand on, in parallel along the graph; lazy ones are left for their first use. When one
   * fails, or `signal` is aborted, the others are asked to stop, and what was opened is closed in reverse before it
   * rejects; this app is closed then.
   *
   * @throws `ERR_OPEN` with the path, the first failure as its cause and every error in order; `ERR_OPEN_ABORTED`
   */
  async open(wanted: Resources, limits: { signal?: AbortSignal | undefined; rollback: Deadline | number }): Promise<Plan> {
    const plan = this.graph.plan(wanted)
    if (plan.kind !== appKind) throw tooShort(plan)
    const eager = { ...plan, steps: eagerSteps(plan) }
    try {
      limits.signal?.throwIfAborted()
      const opening = this.scope.open(eager)
      if (opening) await orAborted(opening, limits.signal)
      return plan
    } catch (error) {
      const rollback = typeof limits.rollback === 'number' ? Deadline.in(limits.rollback, this.root.world) : limits.rollback
      throw await this.#undo(eager, error, rollback)
    }
  }

  async #undo(plan: Plan, error: unknown, limit: Deadline): Promise<unknown> {
    const own = error instanceof Failure ? error.error : error
    const errors = await this.scope.end({ ok: false, error: own }, limit)?.then(() => [], errorsOf)
    if (!(error instanceof Failure)) return openAborted(error, errors ?? [])
    const path = pathTo(plan, error.step)
    return new StewardError('ERR_OPEN', openMessage(path, own, errors ?? []), {
      cause: own,
      errors: [own, ...(errors ?? [])],
      path,
    })
  }
}

/** Overrides of app resources that nothing in this graph stands on are mistakes. @throws `ERR_OVERRIDE_UNUSED` */
export function checkOverrides(unused: readonly Override[], only?: 'app'): void {
  const wrong = unused.filter((override) => only === undefined || definitionOf(override.target)!.kind === appKind)
  if (wrong.length === 0) return
  const names = wrong.map((override) => definitionOf(override.target)!)
  const shown = names.map((definition) => `${definition.options.name ? `"${definition.options.name}"` : 'a resource'} of the ${definition.kind.name}`)
  throw new StewardError(
    'ERR_OVERRIDE_UNUSED',
    `Cannot apply every override in "with": nothing that was opened stands on ${shown.join(', ')}; take it away, or open what uses it`,
  )
}

/** Every error that a closing reported, in order. */
export function errorsOf(error: unknown): readonly unknown[] {
  return isStewardError(error, 'ERR_CLOSE') ? error.errors : [error]
}

/** The wanted ones without the lazy, which wait for their first use. */
function eagerSteps(plan: Plan): Plan['steps'] {
  if (!plan.picks.some((pick) => pick.step.definition.options.lazy)) return plan.steps
  const needed = new Set<unknown>()
  const need = (step: Plan['steps'][number]): void => {
    needed.add(step)
    for (const dep of step.deps) need(dep.step)
  }
  for (const { step } of plan.picks) if (!step.definition.options.lazy) need(step)
  return plan.steps.filter((step) => needed.has(step))
}

async function orAborted(opening: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return opening
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([opening, promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

function openMessage(path: readonly string[], error: unknown, undoing: readonly unknown[]): string {
  const also = undoing.length > 0 ? ` (and ${undoing.length} more while closing what was open)` : ''
  const way = path.length > 1 ? ` (${path.join(' → ')})` : ''
  return `Cannot open "${path.at(-1)}"${way}: ${describeError(error)}${also}`
}

function openAborted(reason: unknown, errors: readonly unknown[]): StewardError {
  if (isStewardError(reason) && reason.code !== 'ERR_STOPPING' && reason.code !== 'ERR_OPEN_TIMEOUT') return reason
  return new StewardError('ERR_OPEN_ABORTED', `Cannot finish opening: ${describeError(reason)}`, { cause: reason, errors })
}

function tooShort(plan: Plan): StewardError {
  const short = plan.picks.find((pick) => pick.step.kind !== appKind)!
  return new StewardError(
    'ERR_CAPTIVE',
    `Cannot open "${short.key}" with the app: it is closed with its ${short.step.kind.name}; inject it into a handler, or use run({ ${short.key} }, …)`,
  )
}

/** Any resource record, typed for internal use. */
export type AnyResources = Record<string, AnyResource>

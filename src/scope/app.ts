import { Deadline } from '../base/deadline.ts'
import { describeError, isStewardError, StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { realWorld, type World } from '../base/world.ts'
import { Graph, pathTo, type Plan, type Step } from './graph.ts'
import { LooseJournal, type Journal } from './journal.ts'
import { appKind } from './kind.ts'
import type { Override } from './override.ts'
import { definitionOf, type Resources } from './resource.ts'
import { errorsOf, Failure } from './failure.ts'
import { Scope, type Inputs, type Root } from './scope.ts'

/** What an app scope is made with. */
export interface AppOptions {
  with?: readonly Override[] | undefined
  emit?: Emit | undefined
  world?: World | undefined
  /** Where notes are kept. @default nowhere, with a warning */
  journal?: Journal | undefined
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
    const emit = options.emit ?? (() => {})
    this.root = {
      graph: this.graph,
      world: options.world ?? realWorld,
      emit,
      journal: options.journal ?? new LooseJournal(emit),
      died: options.died ?? (() => {}),
    }
    this.scope = new Scope(this.root, appKind)
    this.scope.inputs = options.inputs
  }

  /**
   * Opens these and all they stand on, in parallel along the graph; lazy ones are left for their first use. When one
   * fails, or `signal` is aborted, the others are asked to stop, and what was opened is closed in reverse before it
   * rejects; this app is closed then.
   *
   * @throws `ERR_OPEN` with the path, the first failure as its cause and every error in order; `ERR_OPEN_ABORTED`
   */
  async open(wanted: readonly Resources[], limits: OpenLimits): Promise<void> {
    const plan = eagerPlan(this.graph, wanted)
    this.scope.failures = []
    try {
      limits.signal?.throwIfAborted()
      const opening = this.scope.open(plan)
      if (opening) await orAborted(opening, limits.signal)
    } catch (error) {
      throw await this.#undo(plan, error, rollbackOf(limits, this.root.world))
    } finally {
      this.scope.failures = undefined
    }
  }

  async #undo(plan: Plan, error: unknown, limit: Deadline): Promise<unknown> {
    const own = error instanceof Failure ? error.error : error
    const { failures, opening } = this.scope
    const pending = opening.map((context) => context.name)
    const closing =
      (await this.scope.end({ ok: false, error: own }, limit)?.then(() => [], errorsOf)) ?? []
    const others = new Set([...failures!, ...closing])
    others.delete(own)
    if (!(error instanceof Failure)) return openAborted(error, { pending, errors: [...others] })
    const path = pathTo(plan, error.step)
    return new StewardError('ERR_OPEN', openMessage(path, own, others.size), {
      cause: own,
      errors: [own, ...others],
      path,
    })
  }
}

/** Overrides of app resources that nothing in this graph stands on are mistakes. @throws `ERR_OVERRIDE_UNUSED` */
export function checkOverrides(unused: readonly Override[], only?: 'app'): void {
  const wrong = unused.filter(
    (override) => only === undefined || definitionOf(override.target)!.kind === appKind,
  )
  if (wrong.length === 0) return
  const names = wrong.map((override) => definitionOf(override.target)!)
  const shown = names.map(
    (definition) =>
      `${definition.options.name ? `"${definition.options.name}"` : 'a resource'} of the ${definition.kind.name}`,
  )
  throw new StewardError(
    'ERR_OVERRIDE_UNUSED',
    `Cannot apply every override in "with": nothing that was opened stands on ${shown.join(', ')}; take it away, or open what uses it`,
  )
}

/** Limits of a start. */
export interface OpenLimits {
  signal?: AbortSignal | undefined
  /** How long closing what was opened may take when it fails: in milliseconds, or until when, asked for then. */
  rollback: number | (() => Deadline)
}

function rollbackOf({ rollback }: OpenLimits, world: World): Deadline {
  return typeof rollback === 'number' ? Deadline.in(rollback, world) : rollback()
}

/**
 * The app resources that are to be open before the first request: those wanted, and those that wanted resources of shorter
 * scopes stand on; a lazy one only where an eager one stands on it. The picks are all that was wanted, for paths.
 */
function eagerPlan(graph: Graph, wanted: readonly Resources[]): Plan {
  const picks = wanted.flatMap((one) => graph.plan(one).picks)
  const eager = new Set<Step>()
  const need = (step: Step): void => {
    if (eager.has(step)) return
    for (const dep of step.deps) need(dep.step)
    eager.add(step)
  }
  const seen = new Set<Step>()
  const look = (step: Step): void => {
    if (seen.has(step)) return
    seen.add(step)
    if (step.kind.depth > 0) for (const dep of step.deps) look(dep.step)
    else if (!step.definition.options.lazy) need(step)
  }
  for (const { step } of picks) look(step)
  return { kind: appKind, steps: [...eager], picks }
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

function openMessage(path: readonly string[], error: unknown, others: number): string {
  const also = others > 0 ? ` (and ${others} more, in "errors")` : ''
  const way = path.length > 1 ? ` (${path.join(' → ')})` : ''
  const head = `Cannot open "${path.at(-1)}"`
  // Our own errors about an opening say so themselves
  const said = describeError(error).replace(`${head}: `, '')
  return `${head}${way}: ${said}${also}`
}

interface Unfinished {
  /** What was still opening. */
  readonly pending: readonly string[]
  readonly errors: readonly unknown[]
}

function openAborted(reason: unknown, { pending, errors }: Unfinished): StewardError {
  if (isStewardError(reason, 'ERR_SCOPE_CLOSED')) return reason
  const waited =
    pending.length > 0 ? ` (still opening: ${pending.map((name) => `"${name}"`).join(', ')})` : ''
  return new StewardError(
    'ERR_OPEN_ABORTED',
    `Cannot finish opening: ${describeError(reason)}${waited}`,
    { cause: reason, errors },
  )
}

import { Deadline } from '../base/deadline.ts'
import { isStewardError } from '../base/errors.ts'
import { EventStream, type ServiceEvent } from '../base/events.ts'
import { realWorld, type World } from '../base/world.ts'
import { App } from '../scope/app.ts'
import { settleStep } from '../scope/journal.ts'
import type { Step } from '../scope/graph.ts'
import type { Resources } from '../scope/resource.ts'
import { wantedBy } from './injected.ts'
import { serviceOf, type ServedApp, type Service } from './service.ts'
import { KeptJournal } from './state.ts'

/**
 * Settles what waits for resources that a start has not opened: lazy ones. One that fails is told of and blocks its own
 * resource only. What nobody here can settle is warned about. Nothing is asked of a service whose resources leave no notes.
 */
export async function settleRest(
  app: App,
  journal: KeptJournal | undefined,
  signal: AbortSignal,
): Promise<void> {
  const steps = stepsWithNotes(app)
  if (!journal || steps.length === 0) return
  const waiting = await journal.waiting().catch((error: unknown) => {
    const message = 'Nobody can tell whether ended processes have left notes'
    app.root.emit({ type: 'error', message, error })
    return new Set<string>()
  })
  for (const step of steps) {
    if (waiting.has(step.name) && !app.scope.has(step)) await settleOne(app, step, signal)
  }
  warnOfStrangers(app, waiting)
}

/** What it stands on is opened for it. */
async function settleOne(
  { scope, graph, root }: App,
  step: Step,
  signal: AbortSignal,
): Promise<void> {
  try {
    signal.throwIfAborted()
    await scope.open(graph.plan((step.definition.deps ?? {}) as Resources))
    await settleStep(scope, step, signal)
  } catch (error) {
    signal.throwIfAborted()
    // Each failing recover has been told
    if (isStewardError(error, 'ERR_RECOVER')) return
    root.emit({ type: 'error', message: `The notes of "${step.name}" could not be settled`, error })
  }
}

function stepsWithNotes({ graph }: App): Step[] {
  return graph.steps.filter(({ leavesNotes }) => leavesNotes)
}

/** Of a resource that was renamed or taken away; one of a key that is not in use yet is no stranger. */
function warnOfStrangers({ graph, root }: App, waiting: ReadonlySet<string>): void {
  const names = new Set(stepsWithNotes({ graph } as App).map(({ name }) => name))
  const keyed = graph.steps.filter(({ definition }) => definition.hasInstances)
  for (const name of waiting) {
    if (names.has(name) || keyed.some((one) => name.startsWith(`${one.name}(`))) continue
    const message = `An ended process has left notes of "${name}", and nothing here settles notes of that name: give a resource that name again, or settle and remove them by hand`
    root.emit({ type: 'warning', message })
  }
}

/** How the notes of a service are settled without running it. */
export interface SettleOptions {
  /** As that of `serve`. */
  state: string
  /** How long closing what was opened may take, in milliseconds. @default 5_000 */
  closeTimeout?: number
  signal?: AbortSignal
  on?: (event: ServiceEvent) => void
  world?: World
}

/**
 * Settles the notes that ended processes of a service have left, and ends: for a supervisor, when no process of the app is to
 * follow. Opens nothing but what a `recover` needs. Of an app that is a resource, what its routes inject is not seen. Gives
 * the names of the resources whose notes wait still; each failure is told as `note.failed`.
 *
 * @throws `ERR_JOURNAL`, the signal's reason; what fails to close
 */
export async function settleNotes(
  given: Service | ServedApp,
  { state, closeTimeout = 5_000, signal, on, world = realWorld }: SettleOptions,
): Promise<readonly string[]> {
  const definition = serviceOf(given)
  const stop = signal ?? new AbortController().signal
  const events = new EventStream()
  if (on) events.on(on)
  const { emit } = events
  const journal = new KeptJournal(state, definition.name, { emit, world })
  const app = new App({ emit, world, journal, inputs: { stopping: stop, signal: stop } })
  for (const wanted of wantedBy(definition)) app.graph.plan(wanted)
  try {
    await settleRest(app, journal, stop)
  } finally {
    await app.scope.end({ ok: true }, Deadline.in(closeTimeout, world))
    await journal.close()
  }
  return stepsWithNotes(app).length > 0 ? [...(await journal.waiting())] : []
}

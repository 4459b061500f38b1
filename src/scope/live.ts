import { Deadline, atMost, milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import { EventStream, type Events, type ServiceEvent } from '../base/events.ts'
import type { World } from '../base/world.ts'
import { App, checkOverrides } from './app.ts'
import { closeFailure, errorsOf, scopeClosed } from './failure.ts'
import type { Plan } from './graph.ts'
import { health, type HealthReport } from './health.ts'
import { watchLeaks } from './leaks.ts'
import { appKind, isWithin } from './kind.ts'
import type { Override } from './override.ts'
import { picture, type PictureFormat } from './picture.ts'
import type { Ending, Fitting, Outlived, Per, Resources, Values } from './resource.ts'
import { endWithin, enterTo, runIn } from './run.ts'
import type { Scope } from './scope.ts'

/** How `open` goes about it. */
export interface OpenOptions {
  /** What stands in the place of what: `fake(…)`, `swap(…)`. */
  with?: readonly Override[]
  /** Aborts the opening: what is open or opens late is closed, and `open` rejects. */
  signal?: AbortSignal
  /** How long all of the opening may take. @default no limit but each resource's own */
  openTimeout?: Duration
  /** The budget for closing, handed down to each close. @default '25s' */
  closeTimeout?: Duration
  /** Warns when a scope is garbage-collected unclosed, with where it was entered. Costs a stack trace per scope. @default false */
  leaks?: boolean
  /** Told what happens: openings, closings, warnings. */
  on?: (event: ServiceEvent) => void
  /** Another clock, for tests. */
  world?: World
}

/** How long it took, in milliseconds, and since when. */
export interface Timing {
  readonly opened?: number
  readonly closed?: number
}

/**
 * A scope that is open. Close it, or leave it to `await using`.
 */
export interface LiveScope<Self extends string, Around extends string> extends AsyncDisposable {
  /**
   * Opens what is wanted for one piece of work, in scopes of its own as far as it needs any, and closes them when the work
   * has settled. Resolves with what the work gave.
   *
   * @throws the work's own error, or an opener's; when closing failed too, `ERR_CLOSE` with the work's error first;
   * `ERR_SCOPE_CLOSED`
   */
  run<const Wanted extends Resources, Result>(
    wanted: Wanted & Fitting<Wanted, string, never, 'this scope'>,
    work: (values: Values<Wanted>) => Result,
  ): Promise<Awaited<Result>>
  /** Begins a scope inside this one. @throws `ERR_SCOPE_CLOSED`, `ERR_SCOPE_UNKNOWN` when it does not lie within this one */
  enter<Inner extends string, InnerAround extends string>(
    scope: Per<Inner, InnerAround>,
  ): LiveScope<Inner, InnerAround>
  /**
   * Ends it: work under way in it gets its time, then the scopes inside it end, then what is open closes in reverse.
   * Everyone who calls gets the same promise.
   *
   * @throws the error of the close that failed, or `ERR_CLOSE` with all of them in order
   */
  close(ending?: Ending): Promise<void>
  /** Its own name and those of the scopes around it; exists in types only. */
  readonly scope?: { self: Self; around: Around }
}

/** The app scope, open: `values` has what was asked for. */
export interface Live<Wanted> extends LiveScope<'app', 'app'> {
  /** What was asked for, open. A lazy one is there once something has used it. */
  readonly values: Values<Wanted>
  /** Asks every open resource with a `check`. */
  health(): Promise<HealthReport>
  /** Draws what stands on what. */
  graph(format?: PictureFormat): string
  /** How long each resource took to open and to close, by name, in milliseconds. */
  timings(): Readonly<Record<string, Timing>>
}

/**
 * Opens resources, and all they stand on, in parallel along the graph: for scripts, tests and programs without a server.
 * A service does the same by itself.
 *
 * @throws `ERR_OPEN` when one failed: the others were closed again, all errors are in it; `ERR_OPEN_ABORTED`;
 * `ERR_OVERRIDE_UNUSED`, `ERR_CYCLE`, `ERR_CAPTIVE`, `ERR_NOT_A_RESOURCE`, `ERR_BAD_OPTION`
 * @example
 * ```ts
 * import { open, perApp } from 'steward'
 *
 * const greeting = perApp(() => 'hello')
 * await using app = await open({ greeting })
 * console.log(app.values.greeting)
 * ```
 */
export async function open<const Wanted extends Resources>(
  wanted: Wanted & Outlived<Wanted, 'app', 'app'>,
  options: OpenOptions = {},
): Promise<Live<Wanted>> {
  checkOptions(options)
  const stop = new AbortController()
  const events = new EventStream()
  if (options.on) events.on(options.on)
  const timings = recordTimings(events)
  const app = new App({
    with: options.with,
    world: options.world,
    emit: events.emit,
    inputs: { stopping: stop.signal, signal: stop.signal },
    died: (name, error) => events.emit({ type: 'error', message: `"${name}" has died`, error }),
  })
  const plan = app.graph.plan(wanted)
  if (plan.kind !== appKind) throw tooShort(plan)
  checkOverrides(app.graph.unused, 'app')
  const close = milliseconds(options.closeTimeout ?? '25s', 'closeTimeout')
  const { signal, release } = openingSignal(options, app.root.world)
  await app.open([wanted], { signal, rollback: close }).finally(release)
  return new LiveApp(app, { plan, stop, close, timings, leaks: options.leaks ?? false })
}

interface LiveAppParts {
  plan: Plan
  stop: AbortController
  close: number
  timings: Record<string, Timing>
  leaks: boolean
}

/** How a scope is held by whoever opened or entered it. */
interface Holding {
  /** The scope that it was entered from: scopes on the way are its own too. */
  readonly outer: Scope | undefined
  readonly leaks: boolean
  /** The budget for closing, in milliseconds. */
  readonly budget: number
}

class LiveInner<Self extends string, Around extends string> implements LiveScope<Self, Around> {
  protected readonly inner: Scope
  readonly #holding: Holding
  readonly #forget: () => void
  #closing: Promise<void> | undefined

  constructor(scope: Scope, holding: Holding) {
    this.inner = scope
    this.#holding = holding
    this.#forget = holding.leaks ? watchLeaks(this, scope) : () => {}
  }

  run<const Wanted extends Resources, Result>(
    wanted: Wanted & Fitting<Wanted, string, never, 'this scope'>,
    work: (values: Values<Wanted>) => Result,
  ): Promise<Awaited<Result>> {
    if (this.#closing) return Promise.reject(scopeClosed(this.inner, 'run work'))
    return runIn(this.inner, wanted, work as (values: never) => Result)
  }

  enter<Inner extends string, InnerAround extends string>(
    scope: Per<Inner, InnerAround>,
  ): LiveScope<Inner, InnerAround> {
    const { inner } = this
    if (typeof scope !== 'function' || !scope.kind) throw notAScope(scope)
    if (isWithin(inner.kind, scope.kind)) throw notWithin(scope.kind.name, inner.kind.name)
    if (this.#closing) throw scopeClosed(inner, `enter a ${scope.kind.name} scope`)
    return new LiveInner<Inner, InnerAround>(enterTo(inner, scope.kind), {
      ...this.#holding,
      outer: inner,
    })
  }

  close(ending: Ending = { ok: true }): Promise<void> {
    // From one of its own closes: that one would wait for itself
    if (this.inner.disposing) return Promise.resolve()
    if (this.#closing) return this.#closing
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#closing = promise
    this.end(ending).then(resolve, reject)
    return promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Work under way gets half of the time, then it is closed. */
  protected async end(ending: Ending): Promise<void> {
    this.#forget()
    const { inner } = this
    const { outer, budget } = this.#holding
    const limit = Deadline.in(budget, inner.root.world)
    const idle = inner.idle()
    if (idle) await atMost(idle, limit.atMost(budget / 2))
    await (outer ? endWithin({ outer, inner, ending, limit }) : inner.end(ending, limit))
  }
}

class LiveApp<Wanted extends Resources> extends LiveInner<'app', 'app'> implements Live<Wanted> {
  readonly values: Values<Wanted>
  readonly #app: App
  readonly #parts: LiveAppParts

  constructor(app: App, parts: LiveAppParts) {
    super(app.scope, { outer: undefined, leaks: parts.leaks, budget: parts.close })
    this.#app = app
    this.#parts = parts
    this.values = valuesOf(app, parts.plan) as Values<Wanted>
  }

  health(): Promise<HealthReport> {
    return health(this.#app)
  }

  graph(format: PictureFormat = 'mermaid'): string {
    return picture(this.#app.graph, format)
  }

  timings(): Readonly<Record<string, Timing>> {
    return this.#parts.timings
  }

  /** Overrides that nothing has stood on by now are a mistake, told after everything else. */
  protected override async end(ending: Ending): Promise<void> {
    const { scope, graph } = this.#app
    const errors: unknown[] = []
    this.#parts.stop.abort(new StewardError('ERR_STOPPING', 'Cannot go on: the app is closing'))
    await super.end(ending).catch((error: unknown) => errors.push(...errorsOf(error)))
    const unused = catchError(() => checkOverrides(graph.unused))
    if (unused) errors.push(unused)
    if (errors.length > 0) throw closeFailure(scope, errors)
  }
}

/** What was asked for; reading a lazy one that is not open says how to use it. */
function valuesOf(app: App, plan: Plan): Record<string, unknown> {
  const values = {}
  for (const { key, step } of plan.picks) {
    const get = (): unknown => {
      if (app.scope.has(step)) return app.scope.valueOf(step)
      if (app.scope.state !== 'open') throw scopeClosed(app.scope, `read "${key}"`)
      throw new StewardError(
        'ERR_UNKNOWN_RESOURCE',
        `Cannot read "${key}": it is lazy and nothing has used it yet; use run({ ${key} }, …)`,
      )
    }
    Object.defineProperty(values, key, { get, enumerable: true })
  }
  return values
}

function recordTimings(events: Events): Record<string, Timing> {
  const timings: Record<string, Timing> = {}
  events.on((event) => {
    if (event.type === 'resource.opened') {
      timings[event.name] = { ...timings[event.name], opened: event.took }
    }
    if (event.type === 'resource.closed') {
      timings[event.name] = { ...timings[event.name], closed: event.took }
    }
  })
  return timings
}

function openingSignal(
  options: OpenOptions,
  world: World,
): { signal: AbortSignal | undefined; release: () => void } {
  if (options.openTimeout === undefined) return { signal: options.signal, release: () => {} }
  const limit = milliseconds(options.openTimeout, 'openTimeout')
  const controller = new AbortController()
  const release = world.timer(limit, () =>
    controller.abort(
      new StewardError('ERR_OPEN_TIMEOUT', `Cannot open in ${limit} ms: the openTimeout is over`),
    ),
  )
  return {
    signal: options.signal
      ? AbortSignal.any([options.signal, controller.signal])
      : controller.signal,
    release,
  }
}

const OPTIONS = ['with', 'signal', 'openTimeout', 'closeTimeout', 'leaks', 'on', 'world']

function checkOptions(options: OpenOptions): void {
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name))
  if (unknown === undefined) return
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot open with the option "${unknown}": there is no such option, known are ${OPTIONS.join(', ')}`,
  )
}

function catchError(work: () => void): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return undefined
}

function tooShort(plan: Plan): StewardError {
  const short = plan.picks.find((pick) => pick.step.kind !== appKind)!
  return new StewardError(
    'ERR_CAPTIVE',
    `Cannot open "${short.key}" with the app: it is closed with its ${short.step.kind.name}; inject it into a handler, or use run({ ${short.key} }, …)`,
  )
}

function notAScope(found: unknown): StewardError {
  return new StewardError(
    'ERR_BAD_OPTION',
    `Cannot enter ${describe(found)}: it is no scope, pass perRequest, perHandler or what per(…) made`,
  )
}

function notWithin(name: string, here: string): StewardError {
  return new StewardError(
    'ERR_SCOPE_UNKNOWN',
    `Cannot enter the ${name} scope: it does not lie within this ${here} scope, enter one that does`,
  )
}

import { describeError, isStewardError, StewardError } from '../base/errors.ts'
import { EventStream, type Events, type ServiceEvent, type Served } from '../base/events.ts'
import { realWorld, type World } from '../base/world.ts'
import type { Binding } from '../http/binding.ts'
import { HttpServer } from '../http/server.ts'
import { App, checkOverrides, errorsOf } from '../scope/app.ts'
import { health, type HealthReport } from '../scope/health.ts'
import type { Override } from '../scope/override.ts'
import { picture, type PictureFormat } from '../scope/picture.ts'
import { definitionOf, type Fitting, type Resources, type Values } from '../scope/resource.ts'
import { runIn } from '../scope/run.ts'
import { answeringWith, envOf, type Answering } from './answering.ts'
import { Fetches } from './fetches.ts'
import { bindHooks, bindLifespan, runHook, type BoundHook } from './hooks.ts'
import { injectedBy } from './injected.ts'
import { healthOf, type ProbePaths } from './probes.ts'
import { isApp, notUsable, type ServedApp, type ServiceDefinition } from './service.ts'
import { divide, stopInStages, stoppingError, type StopReport, type Traffic } from './stages.ts'

/** Where a service is in its life. */
export type ServiceState = 'starting' | 'running' | 'stopping' | 'draining' | 'closing' | 'closed'

/** A service that runs: made by `serve` or `start`. `await using` stops it at the end of the block. */
export interface Running extends AsyncDisposable {
  readonly state: ServiceState
  /** Where it is reached: `http://127.0.0.1:3000`, `unix:/run/shop.sock`; empty for `start`. */
  readonly url: string
  /** Everything that it tells, from now on. */
  readonly events: Events
  /** The environment for `app.request(path, init, running.env)` and `testClient(app, running.env)`: their handlers find this service. */
  readonly env: object
  /**
   * Answers a request without a connection, as the listener would; a path is taken as one on localhost. The request's scope
   * ends when the answer's body has been read.
   *
   * @throws `ERR_APP_NOT_USABLE` when the app is a Node listener, `ERR_STOPPING` when the service has stopped
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Opens resources for one piece of work outside a request: a script's, a timer's. @throws the work's own error, an opener's, `ERR_CLOSE`, `ERR_SCOPE_CLOSED` */
  run<const Wanted extends Resources, Result>(
    wanted: Wanted & Fitting<Wanted, string, never, 'a running service'>,
    work: (values: Values<Wanted>) => Result,
  ): Promise<Awaited<Result>>
  /** Asks every open resource with a `check`. */
  health(): Promise<HealthReport>
  /** Draws what stands on what. @default 'mermaid' */
  graph(format?: PictureFormat): string
  /** Stops in order, within the graceful timeout. Every caller gets the same promise, which never rejects: what failed is in the report. */
  stop(reason?: string): Promise<StopReport>
  /** Like a second signal: what is under way is cut, and everything closes within the close reserve. */
  force(reason?: string): Promise<StopReport>
  /** Resolves when it has stopped, whoever stopped it. */
  readonly closed: Promise<StopReport>
}

/** How a service is run, in milliseconds where it is a time. */
export interface RunSettings {
  gracefulTimeout: number
  drainDelay: number
  keepAlive?: number | undefined
  probes: ProbePaths | false
  with?: readonly Override[] | undefined
  world?: World | undefined
  on?: ((event: ServiceEvent) => void) | undefined
}

/**
 * One run of a service.
 *
 * ```
 * starting ──▶ running ──stop()──▶ stopping ──▶ draining ──▶ closing ──▶ closed
 *    │ a step fails, or stop()                                  ▲
 *    └── what was done is undone, in reverse ───────────────────┘
 * ```
 */
export class ServiceRun implements Running {
  readonly #definition: ServiceDefinition
  readonly #settings: RunSettings
  readonly #world: World
  readonly #events = new EventStream()
  readonly #app: App
  /** Aborted at the first moment of the stop: the built-in resource `stopping`. */
  readonly #stopping = new AbortController()
  /** Aborted when what is left is to be cut. */
  readonly #force = new AbortController()
  /** Aborted when the grace is spent, for scopes without a request. */
  readonly #spent = new AbortController()
  readonly #fetches: Fetches
  readonly #closed = Promise.withResolvers<StopReport>()
  #state: ServiceState = 'starting'
  #answering: Answering | undefined
  #http: HttpServer | undefined
  #hooks: { onShutdown: BoundHook[]; onDrained: BoundHook[] } = { onShutdown: [], onDrained: [] }
  /** What has died while running: the stop is not clean then. */
  readonly #deaths: unknown[] = []
  #started: Promise<void> | undefined
  #stop: Promise<StopReport> | undefined

  constructor(definition: ServiceDefinition, settings: RunSettings) {
    this.#definition = definition
    this.#settings = settings
    this.#world = settings.world ?? realWorld
    if (settings.on) this.#events.on(settings.on)
    this.#app = new App({
      with: settings.with,
      world: this.#world,
      emit: this.#events.emit,
      inputs: { stopping: this.#stopping.signal, signal: this.#spent.signal },
      died: (name, error) => this.#died(name, error),
    })
    this.#fetches = new Fetches(this.#events.emit, this.#world)
  }

  get state(): ServiceState {
    return this.#state
  }

  get url(): string {
    return this.#http?.url ?? ''
  }

  get events(): EventStream {
    return this.#events
  }

  get env(): object {
    return envOf(this)
  }

  get closed(): Promise<StopReport> {
    return this.#closed.promise
  }

  /** For the doors: the app scope, and the calls of `fetch`. */
  get app(): App {
    return this.#app
  }

  /** For the doors. */
  get fetches(): Fetches {
    return this.#fetches
  }

  /** For the doors. */
  get emit(): EventStream['emit'] {
    return this.#events.emit
  }

  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    if (this.#state === 'closed' || !this.#answering) throw stoppingError(this.#definition.name, this.#state)
    const request = new Request(typeof input === 'string' ? new URL(input, 'http://localhost') : input, init)
    const transport = this.#fetches.begin(request)
    try {
      return transport.answer(await this.#answering.byFetch(request, transport))
    } catch (error) {
      transport.fail(error)
      await transport.end()
      throw error
    }
  }

  run<const Wanted extends Resources, Result>(
    wanted: Wanted & Fitting<Wanted, string, never, 'a running service'>,
    work: (values: Values<Wanted>) => Result,
  ): Promise<Awaited<Result>> {
    return runIn(this.#app.scope, wanted, work as (values: never) => Result)
  }

  health(): Promise<HealthReport> {
    return health(this.#app)
  }

  graph(format: PictureFormat = 'mermaid'): string {
    return picture(this.#app.graph, format)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { errors } = await this.stop('disposed')
    if (errors.length === 0) return
    throw new StewardError('ERR_CLOSE', `Cannot stop ${this.#definition.name} cleanly: ${errors.map(describeError).join('; ')}`, {
      errors,
      cause: errors[0],
    })
  }

  /** Opens everything, and listens on `binding` if there is one. @throws `ERR_OPEN`, `ERR_HOOK`, `ERR_LIFESPAN`, `ERR_LISTEN`, `ERR_STOPPING` */
  start(binding?: Binding): Promise<void> {
    return (this.#started ??= this.#start(binding))
  }

  stop(reason = 'stop'): Promise<StopReport> {
    return (this.#stop ??= this.#stopNow(reason))
  }

  force(reason = 'forced'): Promise<StopReport> {
    const stopped = this.stop(reason)
    this.#force.abort()
    return stopped
  }

  async #start(binding?: Binding): Promise<void> {
    const began = this.#world.now()
    this.#emit({ type: 'service.opening', name: this.#definition.name })
    const undo: BoundHook[] = []
    try {
      const app = await this.#openAll()
      this.#answering = await answeringWith(app, this, this.#definition.everyRequest)
      await this.#runStartHooks(undo)
      this.#stopping.signal.throwIfAborted()
      if (binding) await this.#listen(binding)
      this.#watchLateOpenings()
      this.#state = 'running'
      this.#emit({ type: 'service.ready', took: this.#world.now() - began })
    } catch (error) {
      throw await this.#undoStart(error, undo)
    }
  }

  /** Opens the resources; then, since an app that is one can tell only now, what its routes inject. Gives the app. */
  async #openAll(): Promise<ServedApp | undefined> {
    const { app, resources, everyRequest = {} } = this.#definition
    const limits = { signal: this.#stopping.signal, rollback: this.#settings.gracefulTimeout }
    const asResource = definitionOf(app) ? ({ app } as Resources) : {}
    const injected = definitionOf(app) ? [] : injectedBy(app)
    await this.#app.open([resources, everyRequest, asResource, ...injected], limits)
    const served = definitionOf(app) ? this.#app.scope.valueOf(this.#app.graph.find(app)!) : app
    if (served !== undefined && !isApp(served)) throw await this.#closeAfter(notUsable(served))
    if (served !== app) await this.#app.open(injectedBy(served), limits)
    try {
      checkOverrides(this.#app.graph.unused)
    } catch (error) {
      throw await this.#closeAfter(error)
    }
    return served as ServedApp | undefined
  }

  async #closeAfter(error: unknown): Promise<unknown> {
    await this.#app.scope.end({ ok: false, error })
    return error
  }

  async #runStartHooks(undo: BoundHook[]): Promise<void> {
    const { onStartup, onShutdown, onDrained, lifespan } = this.#definition
    const values = this.#valuesOf(this.#definition.resources)
    const setting = { emit: this.#events.emit, world: this.#world, signal: this.#stopping.signal }
    const around = lifespan && bindLifespan(lifespan, values)
    if (around) {
      await orStopped(runHook(around.before, undefined, setting), this.#stopping.signal)
      undo.push(around.after)
    }
    for (const hook of bindHooks('onStartup', onStartup, values)) {
      await orStopped(runHook(hook, undefined, setting), this.#stopping.signal)
    }
    this.#hooks = {
      onShutdown: bindHooks('onShutdown', onShutdown, values).toReversed(),
      onDrained: [...bindHooks('onDrained', onDrained, values).toReversed(), ...undo],
    }
  }

  #valuesOf(resources: Resources): Record<string, unknown> {
    const { graph, scope } = this.#app
    const plan = graph.plan(resources)
    return scope.pick({ ...plan, picks: plan.picks.filter(({ step }) => scope.has(step)) })
  }

  async #listen(binding: Binding): Promise<void> {
    const { keepAlive, probes } = this.#settings
    const { overHttp } = this.#answering!
    const http = new HttpServer({
      handler: overHttp,
      keepAlive,
      health: probes === false ? undefined : healthOf(this, probes),
      emit: this.#events.emit,
      world: this.#world,
    })
    await http.listen(binding)
    this.#http = http
    this.#emit({ type: 'service.listening', url: http.url })
  }

  /** A resource that a request is the first to open was not found in the routes: its first user waits for it. */
  #watchLateOpenings(): void {
    const told = new Set<string>()
    this.#events.on((event) => {
      if (event.type !== 'resource.opening' || this.#state !== 'running' || told.has(event.name)) return
      const step = this.#app.graph.steps.find((one) => one.name === event.name && one.kind.depth === 0)
      if (step?.definition.options.lazy) return
      told.add(event.name)
      this.#emit({
        type: 'warning',
        message: `"${event.name}" opens at its first use: no route or option told of it before; list it in the service's resources, or make it lazy`,
      })
    })
  }

  /** A start that failed, or was stopped: what was done is undone in reverse. Gives the error to throw. */
  async #undoStart(error: unknown, undo: readonly BoundHook[]): Promise<unknown> {
    const errors: unknown[] = []
    const budget = divide(this.#settings.gracefulTimeout, 0, { world: this.#world, force: this.#force.signal })
    this.#state = 'closing'
    for (const hook of undo) {
      await runHook(hook, budget.end.atMost(budget.end.remaining / 2), { emit: this.#events.emit, world: this.#world }).catch(
        (failure: unknown) => errors.push(failure),
      )
    }
    await this.#http?.close()
    // A failed opening has closed its scope already, and has its errors
    const closing = this.#app.scope.state === 'open' ? this.#app.scope.end({ ok: false, error }, budget.end) : undefined
    await closing?.catch((failure: unknown) => errors.push(...errorsOf(failure)))
    const stopped = this.#stopping.signal.aborted
    this.#finish({ clean: stopped && errors.length === 0, served: this.#served(), took: NO_TIME, errors })
    return errors.length > 0 ? withErrors(error, errors) : error
  }

  async #stopNow(reason: string): Promise<StopReport> {
    const { gracefulTimeout, drainDelay } = this.#settings
    const starting = this.#state === 'starting'
    this.#state = 'stopping'
    this.#emit({ type: 'service.stopping', reason, grace: gracefulTimeout })
    this.#stopping.abort(stoppingError(this.#definition.name, reason))
    if (starting) {
      await this.#started?.catch(() => {})
      if (this.#isClosed()) return this.closed
      if (!this.#started) return this.#finish({ clean: true, served: this.#served(), took: NO_TIME, errors: [] })
    }
    const budget = divide(gracefulTimeout, drainDelay, { world: this.#world, force: this.#force.signal })
    const release = budget.t1.when(() => this.#spent.abort(stoppingError(this.#definition.name, 'the grace is spent')))
    const report = await stopInStages(
      {
        ...this.#hooks,
        emit: this.#events.emit,
        world: this.#world,
        traffic: this.#traffic(),
        served: () => this.#served(),
        enter: (stage) => (this.#state = stage),
        closeResources: async (limit) => this.#app.scope.end(this.#ending(), limit),
      },
      budget,
    )
    release()
    const errors = [...this.#deaths, ...report.errors]
    return this.#finish({ ...report, clean: report.clean && errors.length === 0, errors })
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #ending(): { ok: true } | { ok: false; error: unknown } {
    return this.#deaths.length === 0 ? { ok: true } : { ok: false, error: this.#deaths[0] }
  }

  #traffic(): Traffic {
    const http = this.#http
    const fetches = this.#fetches
    return {
      stopping: () => http?.stopping(),
      drain: async (limits) => {
        await Promise.all([http?.drain(limits), fetches.drain(limits), this.#work(limits.cleanup)])
      },
      waiting: () => [...(http?.waiting() ?? []), ...fetches.waiting()],
    }
  }

  /** Work under way by `run` gets its time, too. */
  async #work(limit: { remaining: number; when(run: () => void): () => void }): Promise<void> {
    let release: (() => void) | undefined
    const late = new Promise<void>((resolve) => (release = limit.when(resolve)))
    const forced = new Promise<void>((resolve) => this.#force.signal.addEventListener('abort', () => resolve(), { once: true }))
    await Promise.race([this.#app.scope.idle(), late, forced])
    release?.()
  }

  #served(): Served {
    const { requests = 0, cut = 0, left = 0 } = this.#http?.served ?? {}
    const { served } = this.#fetches
    return { requests: requests + served.requests, cut: cut + served.cut, left: left + served.left }
  }

  #finish(report: StopReport): StopReport {
    this.#state = 'closed'
    this.#emit({ type: 'service.closed', ...report })
    this.#events.end()
    this.#closed.resolve(report)
    return report
  }

  #died(name: string, error: unknown): void {
    const death = new StewardError('ERR_RESOURCE_DIED', `Cannot go on: "${name}" has died: ${describeError(error)}`, {
      cause: error,
      path: [name],
    })
    this.fail(death)
  }

  /** Something that the service cannot live without has failed: it stops in order, and not cleanly. */
  fail(error: unknown): void {
    this.#deaths.push(error)
    this.#emit({ type: 'error', message: describeError(error), error })
    void this.stop(isStewardError(error) ? error.code : 'failure')
  }

  #emit(event: ServiceEvent): void {
    this.#events.emit(event)
  }
}

const NO_TIME = { stopping: 0, draining: 0, closing: 0 }

/** Waits for a start's step, but not when the start is stopped: the step has its signal. */
async function orStopped(work: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const stop = (): void => reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  try {
    await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** The first error, and after it what failed in the undoing. */
function withErrors(error: unknown, undoing: readonly unknown[]): StewardError {
  const first = isStewardError(error) ? error : undefined
  return new StewardError(
    first?.code ?? 'ERR_OPEN',
    `${describeError(error)} (and ${undoing.length} more while undoing the start)`,
    { cause: first?.cause ?? error, errors: [...(first?.errors.length ? first.errors : [error]), ...undoing], path: first?.path ?? [] },
  )
}

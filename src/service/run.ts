import { Deadline } from '../base/deadline.ts'
import { describeError, isStewardError, StewardError } from '../base/errors.ts'
import { EventStream, sumOf, type Served, type Waiting } from '../base/events.ts'
import { realWorld, type World } from '../base/world.ts'
import type { Binding } from '../http/binding.ts'
import { HttpServer, type Load } from '../http/server.ts'
import { App } from '../scope/app.ts'
import { health, type HealthReport } from '../scope/health.ts'
import { picture, type PictureFormat } from '../scope/picture.ts'
import type { Ending, Fitting, Resources, Values } from '../scope/resource.ts'
import { answeringWith, envOf, type Answering } from './answering.ts'
import { Fetches } from './fetches.ts'
import { prepareOnce } from './preparing.ts'
import { healthOf } from './probes.ts'
import type { Running, ServiceState } from './running.ts'
import type { RunSettings, StopManner } from './settings.ts'
import type { ServiceDefinition } from './service.ts'
import {
  divide, goodbyeOf, IDLE_WINDOW, isStopped, NO_TIME, reserveOf, runAll, stopInStages, stoppingError, tellWaiting,
} from './stages.ts' // oxfmt-ignore
import type { StopReport, Traffic } from './stages.ts'
import { settleRest } from './settling.ts'
import {
  died, into, openAll, StartHooks, valuesOf, warnOfLateOpenings, withErrors, type StartSetting,
} from './starting.ts' // oxfmt-ignore
import { KeptJournal } from './state.ts'
import { UnderWay } from './under-way.ts'
import { doWork, drainWork, type Workshop } from './work.ts'

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
  readonly #journal: KeptJournal | undefined
  /** Aborted at the first moment of the stop: the built-in resource `stopping`. */
  readonly #stopping = new AbortController()
  /** Aborted when what is left is to be cut. */
  readonly #force = new AbortController()
  /** Aborted when the grace is spent, for scopes without a request. */
  readonly #spent = new AbortController()
  readonly #fetches: Fetches
  readonly #underWay: UnderWay
  readonly #closed = Promise.withResolvers<StopReport>()
  /** Until when a hook of the start is waited for: for ever, unless the start is stopped. */
  readonly #startLimit: Deadline
  /** Until when a start is undone, once that has begun. */
  #undoing: Deadline | undefined
  #state: ServiceState = 'starting'
  #manner: StopManner = {}
  /** No longer than this has an idle connection, in milliseconds, since a second stop had a shorter window. */
  #idleAtMost = Infinity
  #answering: Answering | undefined
  #http: HttpServer | undefined
  #hooks: StartHooks | undefined
  /** What has died, or was abandoned, while it ran: the stop is not clean then. */
  readonly #failures: unknown[] = []
  #started: Promise<void> | undefined
  #stop: Promise<StopReport> | undefined

  constructor(definition: ServiceDefinition, settings: RunSettings) {
    this.#definition = definition
    this.#settings = settings
    this.#world = settings.world ?? realWorld
    this.#startLimit = new Deadline(Infinity, this.#world)
    this.#underWay = new UnderWay(this.#world)
    this.#events.on(this.#underWay.follow)
    if (settings.on) this.#events.on(settings.on)
    const { state, with: overrides } = settings
    const root = { world: this.#world, emit: this.#events.emit }
    this.#journal = state === undefined ? undefined : new KeptJournal(state, definition.name, root)
    this.#app = new App({
      ...root,
      with: overrides,
      journal: this.#journal,
      inputs: { stopping: this.#stopping.signal, signal: this.#spent.signal },
      died: (name, error) => this.fail(died(name, error)),
    })
    this.#fetches = new Fetches(this.#events.emit, this.#world)
  }

  get state(): ServiceState {
    return this.#state
  }

  get url(): string {
    return this.#http?.url ?? ''
  }

  get urls(): readonly string[] {
    return this.#http?.urls ?? []
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

  // For the doors: the app scope, what is opened for each request, the calls of `fetch`, the events; for a supervisor: the load

  get app(): App {
    return this.#app
  }

  get load(): Load | undefined {
    return this.#http?.load
  }

  get everyRequest(): Resources | undefined {
    return this.#definition.everyRequest
  }

  get fetches(): Fetches {
    return this.#fetches
  }

  get emit(): EventStream['emit'] {
    return this.#events.emit
  }

  async fetch(input: string | URL | Request, init?: RequestInit): Promise<Response> {
    if (this.#state === 'closing' || this.#state === 'closed' || !this.#answering) {
      throw stoppingError(this.#definition.name, this.#state)
    }
    const url = typeof input === 'string' ? new URL(input, 'http://localhost') : input
    const request = new Request(url, init)
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
    return doWork(this.#workshop(), wanted, work as (values: never) => Result)
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
    const all = errors.map(describeError).join('; ')
    throw new StewardError('ERR_CLOSE', `Cannot stop "${this.#definition.name}" cleanly: ${all}`, {
      errors,
      cause: errors[0],
    })
  }

  /**
   * Opens everything, and listens in these places if there are any.
   *
   * @throws `ERR_OPEN`, `ERR_HOOK`, `ERR_LIFESPAN`, `ERR_LISTEN`, `ERR_STOPPING`
   */
  start(bindings: readonly Binding[] = []): Promise<void> {
    return (this.#started ??= this.#start(bindings))
  }

  stop(reason = 'stop', manner: StopManner = {}): Promise<StopReport> {
    if (this.#stop) this.#http?.shortenIdle((this.#idleAtMost = manner.idle ?? IDLE_WINDOW))
    return (this.#stop ??= this.#stopNow(reason, manner))
  }

  get staysReady(): boolean {
    return this.#manner.staysReady ?? false
  }

  force(reason = 'forced'): Promise<StopReport> {
    const stopped = this.stop(reason)
    if (this.#state === 'closed' || this.#force.signal.aborted) return stopped
    const grace = reserveOf(this.#settings.gracefulTimeout)
    this.#events.emit({ type: 'service.forced', reason, grace })
    this.#force.abort()
    this.#spend()
    this.#startLimit.hurry(0)
    this.#undoing?.hurry(grace)
    return stopped
  }

  /** Something that the service cannot live without has failed: it stops in order, and not cleanly. */
  fail(error: unknown): void {
    this.#failures.push(error)
    this.#events.emit({ type: 'error', message: describeError(error), error })
    void this.stop(isStewardError(error) ? error.code : 'failure')
  }

  async #start(bindings: readonly Binding[]): Promise<void> {
    const { emit } = this.#events
    this.#stopping.signal.throwIfAborted()
    const began = this.#world.now()
    emit({ type: 'service.opening', name: this.#definition.name })
    const waiting = (): Waiting[] => this.#underWay.waiting()
    // Its timer also keeps a process alive that has nothing else yet
    const release = tellWaiting('start.waiting', waiting, { emit, world: this.#world })
    try {
      await prepareOnce(this.#definition, { ...this.#settings, ...this.#startSetting() })
      await this.#open()
      if (bindings.length > 0) await this.#listen(bindings)
    } catch (error) {
      throw await this.#undoStart(error)
    } finally {
      release()
    }
    this.#events.on(warnOfLateOpenings(this.#app, emit, this.#hooks!.advice))
    // A stop that came in the last moment goes on from here
    if (this.#state !== 'starting') return
    this.#state = 'running'
    emit({ type: 'service.ready', took: this.#world.now() - began })
  }

  /** Everything before the listener. */
  async #open(): Promise<void> {
    const { resources, everyRequest } = this.#definition
    const { signal } = this.#stopping
    const rollback = (): Deadline => this.#undoLimit()
    const adopted = await openAll(this.#app, this.#definition, { signal, rollback })
    await settleRest(this.#app, this.#journal, signal)
    this.#answering = await answeringWith(adopted, this, everyRequest)
    this.#hooks = new StartHooks(this.#definition, valuesOf(this.#app, resources), adopted)
    await this.#hooks.run(this.#startSetting())
    signal.throwIfAborted()
  }

  #startSetting(): StartSetting {
    const [signal, limit] = [this.#stopping.signal, this.#startLimit]
    return { emit: this.#events.emit, world: this.#world, signal, limit }
  }

  async #listen(bindings: readonly Binding[]): Promise<void> {
    const { probes } = this.#settings
    const [{ emit }, world] = [this.#events, this.#world]
    const { overHttp: handler, upgrade } = this.#answering!
    const health = probes === false ? undefined : healthOf(this, probes)
    const http = new HttpServer({ ...this.#settings.http, handler, upgrade, health, emit, world })
    await http.listen(...bindings)
    this.#http = http
    for (const url of http.urls) emit({ type: 'service.listening', url })
  }

  /** A start that failed, or was stopped: what was done is undone in reverse. Gives the error to throw. */
  async #undoStart(error: unknown): Promise<unknown> {
    const [{ emit }, world] = [this.#events, this.#world]
    const began = world.now()
    const limit = this.#undoLimit()
    this.#state = 'closing'
    const errors: unknown[] = []
    await runAll(this.#hooks?.toUndo() ?? [], { emit, world, limit, errors, reserve: 1 })
    // A failed opening has closed its scope already, and has its errors
    if (this.#app.scope.state === 'open') {
      await this.#closeResources(limit, error).catch(into(errors))
    }
    await this.#journal?.close().catch(into(errors))
    // What died is why it was stopped
    const first = withErrors(this.#failures[0] ?? error, errors)
    const took = { stopping: 0, draining: 0, closing: world.now() - began }
    const clean = isStopped(first)
    this.#finish({ clean, served: this.#served(), took, errors: clean ? [] : [first] })
    return first
  }

  #undoLimit(): Deadline {
    if (this.#undoing) return this.#undoing
    const { gracefulTimeout } = this.#settings
    const grace = this.#force.signal.aborted ? reserveOf(gracefulTimeout) : gracefulTimeout
    return (this.#undoing = Deadline.in(grace, this.#world))
  }

  async #stopNow(reason: string, manner: StopManner): Promise<StopReport> {
    // A start that failed is being undone, or has been
    if (this.#state !== 'starting' && this.#state !== 'running') return this.closed
    const wasStarting = this.#state === 'starting'
    const { gracefulTimeout } = this.#settings
    this.#state = 'stopping'
    this.#manner = manner
    this.#events.emit({ type: 'service.stopping', reason, grace: gracefulTimeout })
    this.#stopping.abort(stoppingError(this.#definition.name, reason))
    if (wasStarting && !(await this.#startIsOver())) return this.closed
    return this.#finish(await this.#stopInStages())
  }

  /** Waits for a start that is being stopped; did it come to its end all the same? */
  async #startIsOver(): Promise<boolean> {
    if (!this.#started) {
      this.#finish({ clean: true, served: this.#served(), took: NO_TIME, errors: [] })
      return false
    }
    this.#undoLimit()
    this.#startLimit.hurry(this.#settings.gracefulTimeout / 5)
    return this.#started.then(
      () => true,
      () => false,
    )
  }

  async #stopInStages(): Promise<StopReport> {
    const { gracefulTimeout: grace, drainQuiet } = this.#settings
    const { idle, drain, drainDelay = this.#settings.drainDelay } = this.#manner
    const [{ emit }, world] = [this.#events, this.#world]
    const budget = divide(
      { grace, drainDelay, drainQuiet, idle, drain },
      { world, force: this.#force.signal },
    )
    const releases = [
      budget.t1.when(() => this.#spend()),
      tellWaiting('drain.waiting', () => this.#waiting(), { emit, world }),
    ]
    const target = {
      emit,
      world,
      traffic: this.#traffic(),
      onShutdown: this.#hooks!.onShutdown(),
      onDrained: this.#hooks!.onDrained(),
      served: () => this.#served(),
      enter: (stage: ServiceState) => void (this.#state = stage),
      closeResources: (limit: Deadline) =>
        this.#closeResources(limit, this.#failures[0]).finally(() => this.#journal?.close()),
    }
    const report = await stopInStages(target, budget)
    for (const release of releases) release()
    const errors = [...this.#failures, ...report.errors]
    return { ...report, clean: report.clean && errors.length === 0, errors }
  }

  /** The grace is over for work that has no request. */
  #spend(): void {
    this.#spent.abort(stoppingError(this.#definition.name, 'the grace is spent'))
  }

  async #closeResources(limit: Deadline, error: unknown): Promise<void> {
    const ending: Ending = error === undefined ? { ok: true } : { ok: false, error }
    await this.#app.scope.end(ending, limit)
  }

  #traffic(): Traffic {
    return {
      stopping: () => this.#http?.stopping(goodbyeOf(this.#definition, this.#manner)),
      lastArrival: () => this.#http?.lastArrival ?? 0,
      drain: async (limits) => {
        const work = drainWork(this.#workshop(), limits.cleanup)
        const { othersAccept } = { ...this.#settings, ...this.#manner }
        const idle = Math.min(limits.idle, this.#idleAtMost)
        const http = this.#http?.drain({ ...limits, idle, othersAccept })
        await Promise.all([http, this.#fetches.drain(limits), work])
        this.#failures.push(...(await work))
      },
    }
  }

  #workshop(): Workshop {
    return { scope: this.#app.scope, underWay: this.#underWay, emit: this.#events.emit }
  }

  /** What the stop is waiting for; requests only while they are being waited for. */
  #waiting(): Waiting[] {
    const underWay = this.#underWay.waiting()
    if (this.#state !== 'draining') return underWay
    return [...(this.#http?.waiting() ?? []), ...this.#fetches.waiting(), ...underWay]
  }

  #served(): Served {
    return sumOf(this.#http?.served, this.#fetches.served)
  }

  #finish(report: StopReport): StopReport {
    this.#state = 'closed'
    this.#events.emit({ type: 'service.closed', ...report })
    this.#events.end()
    this.#closed.resolve(report)
    return report
  }
}

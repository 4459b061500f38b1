import { realWorld } from '../base/world.ts'
import { bindAll, releaseAll, type Binding, type BindTarget } from '../http/binding.ts'
import { Certificate } from '../http/certificates.ts'
import { activate } from './activation.ts'
import { leave } from './leaving.ts'
import { Notifier, takeNotifySettings } from './notify.ts'
import {
  checkServeOptions, checkStartOptions, settingsOf, warningOf, type ServeOptions, type StartOptions,
} from './options.ts' // oxfmt-ignore
import { warnOfOrphans } from './orphans.ts'
import { placesOf } from './places.ts'
import { problemPrinter } from './problems.ts'
import { ServiceRun } from './run.ts'
import type { RunSettings } from './settings.ts'
import type { Running } from './running.ts'
import { serviceOf, type ServedApp, type Service, type ServiceDefinition } from './service.ts'
import { exitCode, guard, type Guarded } from './signals.ts'
import { isStopped, reserveOf } from './stages.ts'
import { stateFolderFor } from './state.ts'
import { startWatchdog, type Watchdog } from './watchdog.ts'

/**
 * Serves a service, or an app as such: binds, opens what it holds, runs its start hooks, then listens. Resolves when it is
 * ready. It handles the process's signals unless `signals` is false.
 *
 * @throws `ERR_LISTEN` and `ERR_TLS` before anything of the app is started, `ERR_OPEN`, `ERR_HOOK`, `ERR_LIFESPAN`, `ERR_BAD_OPTION`,
 * `ERR_APP_NOT_USABLE`; what had been started is undone then
 * @example
 * ```ts
 * import { serve, service } from 'steward'
 *
 * const app = { fetch: () => new Response('hello') }
 * await using running = await serve(service({ app }), { port: 0 })
 * console.log(await (await fetch(running.url)).text())
 * ```
 */
export async function serve(
  given: Service | ServedApp,
  options: ServeOptions = {},
): Promise<Running> {
  return serveRun(given, options)
}

/** What a worker of a supervisor does otherwise than a process by itself. */
export interface AsWorker {
  /** It listens on the sockets of its supervisor, which has had `prepare` run. */
  readonly sockets: readonly BindTarget[]
  /** What its signals, and errors that nobody caught, are told to in the place of the run. */
  guardedFor(run: ServiceRun): Guarded
  /** The descriptor on which its watchdog is asked where the main thread is. */
  readonly questions: number
}

/** What `serve` does, with all that its run can do. @throws as `serve` */
export async function serveRun(
  given: Service | ServedApp,
  options: ServeOptions,
  asWorker?: AsWorker,
): Promise<ServiceRun> {
  checkServeOptions(options)
  const definition = serviceOf(given)
  const tls = options.tls === undefined ? undefined : await Certificate.load(options.tls)
  return new Serving(definition, options, { tls, asWorker }).start()
}

/**
 * The same without a listener and without signals: `running.fetch(request)` answers. For tests, and for embedding in a
 * server of somebody else.
 *
 * @throws as `serve`
 */
export async function start(
  given: Service | ServedApp,
  options: StartOptions = {},
): Promise<Running> {
  checkStartOptions(options)
  const definition = serviceOf(given)
  const run = new ServiceRun(definition, settingsOf(definition, options))
  followSignal(run, options.signal)
  await run.start()
  return run
}

/** One `serve`: the run, and what the process has to do with it. */
class Serving {
  readonly #options: ServeOptions
  readonly #settings: RunSettings
  readonly #run: ServiceRun
  readonly #guarded: Guarded
  readonly #signals: boolean
  readonly #asWorker: AsWorker | undefined
  #watchdog: Watchdog | undefined

  constructor(
    definition: ServiceDefinition,
    options: ServeOptions,
    { tls, asWorker }: { tls: Certificate | undefined; asWorker: AsWorker | undefined },
  ) {
    this.#asWorker = asWorker
    this.#options = { ...options, on: options.on ?? problemPrinter() }
    const settings = settingsOf(definition, this.#options)
    const state = settings.state ?? stateFolderFor(process.argv[1] ?? '.', process.env)
    const ofWorker = asWorker && { isPrepared: true, othersAccept: true }
    this.#settings = { ...settings, state, ...ofWorker, http: { ...settings.http, tls } }
    this.#run = new ServiceRun(definition, this.#settings)
    this.#guarded = asWorker?.guardedFor(this.#run) ?? this.#run
    this.#signals = options.signals ?? true
  }

  async start(): Promise<ServiceRun> {
    const { targets, warnings } = this.#asWorker
      ? { targets: this.#asWorker.sockets, warnings: [] }
      : activate(placesOf(this.#options), process)
    if (this.#signals) this.#takeProcess()
    const shortened = warningOf(this.#settings)
    const all = shortened === undefined ? warnings : [...warnings, shortened]
    for (const message of all) this.#run.emit({ type: 'warning', message })
    let bindings: readonly Binding[] = []
    try {
      bindings = await bindAll(targets)
      await this.#watch()
      followSignal(this.#run, this.#options.signal)
      await this.#run.start(bindings)
    } catch (error) {
      await releaseAll(bindings)
      // Whoever called hears of it; only when the process was asked to end, it ends now
      this.#end({ failed: !isStopped(error), started: false })
      throw error
    }
    void this.#run.closed.then(({ clean }) => this.#end({ failed: !clean, started: true }))
    return this.#run
  }

  /** It is what the process is for: it hears its signals, speaks for it to systemd, and knows what being process 1 means. */
  #takeProcess(): void {
    guard.add(this.#guarded)
    const { emit, events } = this.#run
    const settings = takeNotifySettings(process)
    if (settings) {
      const warn = (message: string): void => emit({ type: 'warning', message })
      events.on(new Notifier(settings, { warn, world: this.#settings.world }).follow)
    }
    if (process.pid === 1) events.on(warnOfOrphans(emit))
  }

  async #watch(): Promise<void> {
    if (!(this.#options.watchdog ?? this.#signals)) return
    const { emit, events } = this.#run
    const grace = this.#settings.gracefulTimeout
    const message = 'The watchdog has died; stops are still bounded by the main thread'
    const questions = this.#asWorker?.questions
    const limits = { grace, reserve: reserveOf(grace), questions }
    const watchdog = startWatchdog(limits, (error) => emit({ type: 'error', message, error }))
    events.on(({ type }) => {
      if (type === 'service.stopping') watchdog.stopping()
      if (type === 'service.forced') watchdog.forced()
    })
    this.#watchdog = watchdog
    await watchdog.ready
  }

  #end({ failed, started }: { failed: boolean; started: boolean }): void {
    this.#watchdog?.end()
    if (!this.#signals) return
    const asked = guard.remove(this.#guarded)
    // With several services in one process, the exit code is that of the worst
    if (failed && (started || asked !== undefined)) process.exitCode = 1
    if (asked === undefined) return
    leave(exitCode(asked, this.#options), { emit: this.#run.emit, world: realWorld })
  }
}

function followSignal(run: ServiceRun, signal: AbortSignal | undefined): void {
  if (!signal) return
  const stop = (): void => void run.stop('its signal was aborted')
  if (signal.aborted) return stop()
  signal.addEventListener('abort', stop, { once: true })
  void run.closed.then(() => signal.removeEventListener('abort', stop))
}

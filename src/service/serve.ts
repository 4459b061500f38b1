import { milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { ServiceEvent } from '../base/events.ts'
import { realWorld, type World } from '../base/world.ts'
import { bind, type Binding, type BindTarget } from '../http/binding.ts'
import { Certificate, type TlsFiles } from '../http/certificates.ts'
import type { Override } from '../scope/override.ts'
import { activate } from './activation.ts'
import { leave } from './leaving.ts'
import { Notifier, takeNotifySettings } from './notify.ts'
import { warnOfOrphans } from './orphans.ts'
import { problemPrinter } from './problems.ts'
import type { RefuseFrom } from '../http/traffic.ts'
import { limitsOf, refuseOf, type LimitOptions } from './limits.ts'
import type { ProbePaths } from './probes.ts'
import { ServiceRun, type RunSettings } from './run.ts'
import type { Running } from './running.ts'
import { serviceOf, type ServedApp, type Service, type ServiceDefinition } from './service.ts'
import { ProcessGuard, SIGNAL_CODES } from './signals.ts'
import { reserveOf } from './stages.ts'
import { isStopped } from './starting.ts'
import { startWatchdog, type Watchdog } from './watchdog.ts'

/** How a service is started, with a listener or without. */
export interface StartOptions {
  /** In the place of the service's own. */
  gracefulTimeout?: Duration
  /** In the place of the service's own. */
  drainDelay?: Duration
  /** Ends the drain delay early, when neither a connection nor a request has come for so long. @default never */
  drainQuiet?: Duration
  /** What stands in the place of what: `fake(…)`, `swap(…)`. */
  with?: readonly Override[]
  /** Aborts the start, or stops what has started. */
  signal?: AbortSignal
  /** Told everything, from the first moment. @default for `serve`, what goes wrong is printed on stderr */
  on?: (event: ServiceEvent) => void
  /** Another clock, for tests. */
  world?: World
}

/** How a service is served. */
export interface ServeOptions extends StartOptions {
  /** @default a socket that systemd has passed on; else the environment's `PORT`, or 3000; 0 for any free one */
  port?: number
  /** @default '127.0.0.1', or all interfaces when the port comes from the environment's `PORT` */
  host?: string
  /** The path of a Unix socket, in the place of host and port. */
  unix?: string
  /** The descriptor of a listening socket that was inherited, in the place of host and port. */
  fd?: number
  /** The files of a certificate: TLS in the place of plain HTTP. They are read anew whenever they change. */
  tls?: TlsFiles
  /** How long an idle connection is kept. @default '75s' */
  keepAlive?: Duration
  /** Speak HTTP/2 as well: chosen by ALPN with TLS, by the client's first bytes without. @default false */
  http2?: boolean
  /** What clients may take. */
  limits?: LimitOptions
  /** From which stage of the stop on new requests are answered 503 with `Retry-After`. @default all are served while the drain lasts */
  refuse?: RefuseFrom
  /** The probes on the app's port, or none. @default { live: '/livez', ready: '/readyz', keepReady: false } */
  health?: Partial<ProbePaths> | false
  /**
   * SIGTERM, SIGINT and SIGHUP stop it, errors that nobody caught too; then the process ends. It speaks for the process to
   * systemd, where that is asked for. @default true
   */
  signals?: boolean
  /** A thread that ends the process 1 s after the grace, whatever blocks it. @default the same as `signals` */
  watchdog?: boolean
  /** 130 and 143 as exit codes after a clean stop by SIGINT or SIGTERM, in the place of 0. @default false */
  signalExitCodes?: boolean
}

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
  checkOptions(options, SERVE_OPTIONS, 'serve')
  const definition = serviceOf(given)
  const tls = options.tls === undefined ? undefined : await Certificate.load(options.tls)
  return new Serving(definition, options, tls).start()
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
  checkOptions(options, START_OPTIONS, 'start')
  const definition = serviceOf(given)
  const run = new ServiceRun(definition, settingsOf(definition, options))
  followSignal(run, options.signal)
  await run.start()
  return run
}

/** Of this process; listens to nothing as long as nothing is guarded. */
export const guard: ProcessGuard = new ProcessGuard(realWorld)

/** One `serve`: the run, and what the process has to do with it. */
class Serving {
  readonly #options: ServeOptions
  readonly #settings: RunSettings
  readonly #run: ServiceRun
  readonly #signals: boolean
  #watchdog: Watchdog | undefined

  constructor(definition: ServiceDefinition, options: ServeOptions, tls?: Certificate) {
    this.#options = { ...options, on: options.on ?? problemPrinter() }
    const settings = settingsOf(definition, this.#options)
    this.#settings = { ...settings, http: { ...settings.http, tls } }
    this.#run = new ServiceRun(definition, this.#settings)
    this.#signals = options.signals ?? true
  }

  async start(): Promise<Running> {
    const { target, warnings } = activate(placeOf(this.#options), process)
    if (this.#signals) this.#takeProcess()
    for (const message of warnings) this.#run.emit({ type: 'warning', message })
    let binding: Binding | undefined
    try {
      binding = await bindTo(target)
      await this.#watch()
      followSignal(this.#run, this.#options.signal)
      await this.#run.start(binding)
    } catch (error) {
      await binding?.release()
      // Whoever called hears of it; only when the process was asked to end, it ends now
      this.#end({ failed: !isStopped(error), started: false })
      throw error
    }
    void this.#run.closed.then(({ clean }) => this.#end({ failed: !clean, started: true }))
    return this.#run
  }

  /** It is what the process is for: it hears its signals, speaks for it to systemd, and knows what being process 1 means. */
  #takeProcess(): void {
    guard.add(this.#run)
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
    const watchdog = startWatchdog({ grace, reserve: reserveOf(grace) }, (error) =>
      emit({ type: 'error', message, error }),
    )
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
    const asked = guard.remove(this.#run)
    // With several services in one process, the exit code is that of the worst
    if (failed && (started || asked !== undefined)) process.exitCode = 1
    if (asked === undefined) return
    leave(exitCode(asked, this.#options), { emit: this.#run.emit, world: realWorld })
  }
}

/** What a process exits with that was asked to end, and ended well. */
export function exitCode(
  asked: string,
  { signalExitCodes }: { signalExitCodes?: boolean },
): number {
  return signalExitCodes ? (SIGNAL_CODES[asked] ?? 0) : 0
}

function followSignal(run: ServiceRun, signal: AbortSignal | undefined): void {
  if (!signal) return
  const stop = (): void => void run.stop('its signal was aborted')
  if (signal.aborted) return stop()
  signal.addEventListener('abort', stop, { once: true })
  void run.closed.then(() => signal.removeEventListener('abort', stop))
}

function settingsOf(definition: ServiceDefinition, options: ServeOptions): RunSettings {
  const { gracefulTimeout, drainDelay, drainQuiet, health = {} } = options
  return {
    gracefulTimeout:
      gracefulTimeout === undefined
        ? definition.gracefulTimeout
        : milliseconds(gracefulTimeout, 'gracefulTimeout'),
    drainDelay:
      drainDelay === undefined ? definition.drainDelay : milliseconds(drainDelay, 'drainDelay'),
    http: httpOf(options),
    drainQuiet: drainQuiet === undefined ? undefined : milliseconds(drainQuiet, 'drainQuiet'),
    probes: probesOf(health),
    with: options.with,
    world: options.world,
    on: options.on,
  }
}

function httpOf({ keepAlive, limits, http2, refuse }: ServeOptions): RunSettings['http'] {
  return {
    limits: limitsOf({ ...limits, keepAlive }),
    http2: http2 ?? false,
    refuseFrom: refuseOf(refuse),
  }
}

function probesOf(health: NonNullable<ServeOptions['health']>): ProbePaths | false {
  if (health === false) return false
  const { live = '/livez', ready = '/readyz', keepReady = false } = health
  for (const path of [live, ready]) {
    if (typeof path === 'string' && path.startsWith('/')) continue
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot use ${describe(path)} as the path of a probe: it does not begin with a slash, write '/livez'`,
    )
  }
  return { live, ready, keepReady }
}

/** Whether a place was given, and which it is, or the default. @throws `ERR_BAD_OPTION` */
function placeOf(options: ServeOptions): { target: () => BindTarget; given: boolean } {
  const { port, host, unix, fd } = options
  const places = [unix, fd, port ?? host].filter((one) => one !== undefined)
  if (places.length > 1) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      'Cannot listen in several places: give either host and port, or unix, or fd',
    )
  }
  return { target: () => targetOf(options), given: places.length > 0 }
}

function targetOf({ port, host, unix, fd }: ServeOptions): BindTarget {
  if (unix !== undefined) return { path: unix }
  if (fd !== undefined) return { fd }
  const given = port ?? portFromEnvironment()
  const isOurs = port !== undefined || given === undefined
  return { port: given ?? 3000, host: host ?? (isOurs ? '127.0.0.1' : '::') }
}

function portFromEnvironment(): number | undefined {
  const { PORT } = process.env
  if (!PORT) return undefined
  if (/^\d+$/.test(PORT) && Number(PORT) <= 65_535) return Number(PORT)
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot listen on the environment's PORT=${JSON.stringify(PORT)}: it is no port, set a number from 0 to 65535, or none`,
  )
}

/** All interfaces are one dual-stack socket; where a machine has no IPv6, all of IPv4. */
async function bindTo(target: BindTarget): Promise<Binding> {
  try {
    return await bind(target)
  } catch (error) {
    const { code } = ((error as Error).cause ?? {}) as { code?: string }
    const noIpv6 =
      'host' in target &&
      target.host === '::' &&
      (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL')
    if (!noIpv6) throw error
    return bind({ ...target, host: '0.0.0.0' })
  }
}

const START_OPTIONS = [
  'gracefulTimeout',
  'drainDelay',
  'drainQuiet',
  'with',
  'signal',
  'on',
  'world',
]
const SERVE_OPTIONS = [
  ...START_OPTIONS, 'port', 'host', 'unix', 'fd', 'tls', 'keepAlive', 'http2', 'limits', 'refuse', 'health', 'signals', 'watchdog', 'signalExitCodes',
] // oxfmt-ignore

function checkOptions(options: object, known: readonly string[], doing: string): void {
  if (typeof options !== 'object' || options === null) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot ${doing} with ${describe(options)} as options: pass an object`,
    )
  }
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if (unknown === undefined) return
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot ${doing} with the option "${unknown}": there is no such option, known are ${known.join(', ')}`,
  )
}

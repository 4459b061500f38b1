import { milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { ServiceEvent } from '../base/events.ts'
import type { World } from '../base/world.ts'
import type { TlsFiles } from '../http/certificates.ts'
import type { RefuseFrom } from '../http/traffic.ts'
import type { Override } from '../scope/override.ts'
import { limitsOf, refuseOf, type LimitOptions } from './limits.ts'
import type { ProbePaths } from './probes.ts'
import type { RunSettings } from './settings.ts'
import type { ServiceDefinition } from './service.ts'
import { reserveOf } from './stages.ts'

/** How a service is started, with a listener or without. */
export interface StartOptions {
  /** In the place of the service's own. */
  gracefulTimeout?: Duration
  /** In the place of the service's own. */
  drainDelay?: Duration
  /** Ends the drain delay early, when no request but probes has come for so long. @default never */
  drainQuiet?: Duration
  /** What stands in the place of what: `fake(…)`, `swap(…)`. */
  with?: readonly Override[]
  /**
   * The folder where notes are kept; the service has one of its own in it, by its name. @default for `serve`, what systemd
   * gives (`STATE_DIRECTORY`), else one for the program under `$XDG_STATE_HOME` or `~/.local/state`; for `start`, none: notes
   * end with the process
   */
  state?: string
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
  /** The path of a Unix socket, in the place of host and port, or beside them when these are given. */
  unix?: string
  /** The descriptor of a listening socket that was inherited; likewise. */
  fd?: number
  /** Several places, or one in one word: `'127.0.0.1:3000'`, `'[::1]:3000'`, `'unix:/run/app.sock'`, `'fd://3'`; beside the others that are given. */
  bind?: string | readonly string[]
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

/** The options as a run takes them, beside what the service itself says. @throws `ERR_BAD_OPTION` */
export function settingsOf(definition: ServiceDefinition, options: ServeOptions): RunSettings {
  const { health = {} } = options
  checkState(options)
  return {
    ...timesOf(definition, options),
    http: httpOf(options),
    probes: probesOf(health),
    with: options.with,
    world: options.world,
    on: options.on,
    state: options.state,
  }
}

function checkState({ state }: StartOptions): void {
  if (state === undefined || (typeof state === 'string' && state !== '')) return
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot use ${describe(state)} as "state": pass the path of a folder`,
  )
}

/** The times of a stop. One that leaves nothing for the others is refused. */
function timesOf(definition: ServiceDefinition, options: ServeOptions): Times {
  const { gracefulTimeout, drainDelay, drainQuiet } = options
  const grace = gracefulTimeout && milliseconds(gracefulTimeout, 'gracefulTimeout')
  const delay = drainDelay && milliseconds(drainDelay, 'drainDelay')
  const times = {
    gracefulTimeout: grace ?? definition.gracefulTimeout,
    drainDelay: delay ?? definition.drainDelay,
    drainQuiet: drainQuiet && milliseconds(drainQuiet, 'drainQuiet'),
  }
  checkTimes(times)
  return times
}

type Times = Pick<RunSettings, 'gracefulTimeout' | 'drainDelay' | 'drainQuiet'>

function checkTimes({ gracefulTimeout: grace, drainDelay: delay, drainQuiet: quiet }: Times): void {
  if (delay > 0 && delay >= grace) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot stop within ${grace} ms with a drain delay of ${delay} ms: nothing is left for the drain, give "gracefulTimeout" more`,
    )
  }
  if (quiet === undefined || quiet < delay) return
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot end a drain delay of ${delay} ms after ${quiet} ms of quiet: it is over by then, give "drainDelay" more`,
  )
}

/** What a stop will do otherwise than it was told, in words; `undefined`: nothing. */
export function warningOf({
  gracefulTimeout: grace,
  drainDelay: delay,
}: Times): string | undefined {
  const most = grace - reserveOf(grace)
  if (delay <= most) return undefined
  return `A drain delay of ${delay} ms is cut short to ${most} ms: of the ${grace} ms of the graceful timeout, ${grace - most} ms are kept back for closing`
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

const START_OPTIONS = ['gracefulTimeout', 'drainDelay', 'drainQuiet', 'with', 'state', 'signal', 'on', 'world'] // oxfmt-ignore
const SERVE_OPTIONS = [
  ...START_OPTIONS, 'port', 'host', 'unix', 'fd', 'bind', 'tls', 'keepAlive', 'http2', 'limits', 'refuse', 'health', 'signals', 'watchdog', 'signalExitCodes',
] // oxfmt-ignore

/** @throws `ERR_BAD_OPTION` for an option of `serve` that does not exist */
export function checkServeOptions(options: object): void {
  checkOptions(options, SERVE_OPTIONS, 'serve')
}

/** @throws `ERR_BAD_OPTION` for an option of `start` that does not exist */
export function checkStartOptions(options: object): void {
  checkOptions(options, START_OPTIONS, 'start')
}

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

import type { Duration } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { isActivated } from '../service/activation.ts'
import { notifyDescriptor } from '../service/notify-descriptor.ts'
import type { ServeOptions } from '../service/options.ts'
import type { InspectCommand } from './inspection.ts'
import type { Loaded, LoadOptions } from './load.ts'
import type { ReloadOptions } from './reload.ts'
import type { WatchCommand } from './watch.ts'

/** The options of `steward serve`, as they were given. */
export interface ServeCommand extends LoadOptions, InspectCommand, WatchCommand, ReloadOptions {
  host?: string
  port?: number
  bind?: readonly string[]
  unix?: string
  fd?: number
  tlsCert?: string
  tlsKey?: string
  tlsCa?: string
  gracefulTimeout?: Duration
  drainDelay?: Duration
  drainQuiet?: Duration
  refuse?: 'stopping' | 'draining'
  http2?: boolean
  keepAlive?: Duration
  limitHeaders?: Duration
  limitRequest?: Duration
  limitSend?: Duration
  limitHeaderSize?: number
  limitConnections?: number
  backlog?: number
  log?: 'pretty' | 'json'
  pid?: string
  state?: string
  health: boolean
  healthLive?: string
  healthReady?: string
  healthKeepReady?: boolean
  signalExitCodes?: boolean
  workers?: number
  /** Without it, there is but this process. */
  supervisor: boolean
  notifyFd?: number
  control?: string | false
}

/** Where to listen. */
export type Place = Pick<ServeOptions, 'host' | 'port' | 'unix' | 'fd' | 'bind'>

/** Where to listen, of what was given. */
export function placeOf({ host, port, bind, unix, fd }: ServeCommand): Place {
  return given({ host, port, bind, unix, fd })
}

/** TLS, when its two files are given. @throws `ERR_BAD_OPTION` when one of them is missing */
export function tlsOf({ tlsCert, tlsKey, tlsCa }: ServeCommand): Pick<ServeOptions, 'tls'> {
  const options = { '--tls-cert': tlsCert, '--tls-key': tlsKey, '--tls-ca': tlsCa }
  const given = Object.entries(options).filter(([, file]) => file !== undefined)
  if (given.length === 0) return {}
  if (tlsCert !== undefined && tlsKey !== undefined) {
    return { tls: { cert: tlsCert, key: tlsKey, ca: tlsCa } }
  }
  const names = given.map(([name]) => name)
  const missing = ['--tls-cert', '--tls-key'].filter((name) => !names.includes(name))
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot serve TLS with ${names.join(' and ')} alone: give ${missing.join(' and ')} as well`,
  )
}

/** Where s6 waits for the service, it is told as well. @throws `ERR_BAD_OPTION` */
export function readyAt({ notifyFd }: ServeCommand, log: Emit): Emit {
  return notifyFd === undefined ? log : both(log, notifyDescriptor(notifyFd, log))
}

/** Each event, to both. */
export function both(one: Emit, other: Emit): Emit {
  return (event) => {
    one(event)
    other(event)
  }
}

/** What the service is served with, of what was given and of what its module says. */
export function optionsOf(command: ServeCommand, where: Place, { port }: Loaded): ServeOptions {
  const { gracefulTimeout, drainDelay, drainQuiet, refuse, http2, keepAlive } = command
  const own = port === undefined || isElsewhere(where) ? {} : { port }
  return {
    ...own,
    ...where,
    ...given({ gracefulTimeout, drainDelay, drainQuiet, refuse, http2, keepAlive }),
    limits: limitsOf(command),
    health: healthOf(command),
    watchdog: command.watchdog,
    signalExitCodes: command.signalExitCodes ?? false,
  }
}

/** Has somebody named the place to listen on, so that the service's own port does not count? */
export function isElsewhere(where: Place): boolean {
  const isNamed = Object.keys(where).length > 0 || process.env['PORT'] !== undefined
  return isNamed || isActivated(process)
}

/** What clients may take. */
export function limitsOf(command: ServeCommand): NonNullable<ServeOptions['limits']> {
  const { limitHeaders, limitRequest, limitSend, limitHeaderSize, limitConnections } = command
  const { backlog } = command
  return given({
    headers: limitHeaders,
    request: limitRequest,
    send: limitSend,
    headerSize: limitHeaderSize,
    connections: limitConnections,
    backlog,
  })
}

function healthOf(command: ServeCommand): NonNullable<ServeOptions['health']> {
  const { health, healthLive: live, healthReady: ready, healthKeepReady: keepReady } = command
  return health && given({ live, ready, keepReady })
}

type Given<Options> = { [Name in keyof Options]?: Exclude<Options[Name], undefined> }

/** Those options that were given. */
export function given<Options extends object>(options: Options): Given<Options> {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Given<Options>
}

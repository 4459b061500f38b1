import type { Duration } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { realWorld } from '../base/world.ts'
import { isActivated } from '../service/activation.ts'
import { leave } from '../service/leaving.ts'
import { notifyDescriptor } from '../service/notify-descriptor.ts'
import { settingsOf, type ServeOptions } from '../service/options.ts'
import { exitCode, guard, type Guarded } from '../service/signals.ts'
import { isStopped } from '../service/stages.ts'
import { inDevelopment } from './developing.ts'
import { exitCodeOf, printFatal, survivePipes, type Form } from './fatal.ts'
import { stateFolderFor } from '../service/state.ts'
import { closeInspector, inspectorOf, openInspector, type InspectCommand } from './inspection.ts'
import type { Loaded, LoadOptions } from './load.ts'
import { tellLoadedFiles } from './loaded-files.ts'
import { jsonLog } from './log.ts'
import { writePid } from './pid-file.ts'
import { reloadingOf, type Reloading, type ReloadOptions } from './reload.ts'
import { Screen, type Role } from './screen.ts'
import { supervise } from './supervise.ts'
import { refuseWatch, watchOf, type WatchCommand } from './watch.ts'
import { WorkerLink } from './worker.ts'

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

/** `steward serve`: loads a module and serves it until a signal stops it. Sets the exit code. */
export async function serveModule(module: string, command: ServeCommand): Promise<void> {
  const form = command.log ?? (process.stdout.isTTY ? 'pretty' : 'json')
  survivePipes()
  const unserved = new Unserved(command, form)
  guard.keep(unserved)
  try {
    const where = placeOf(command)
    const link = WorkerLink.of(command)
    const isAlone = !link && isUnsupervised(command)
    const reloading = link ? undefined : reloadingOf(command)
    const role = link?.role ?? roleOf(command, isAlone)
    const log =
      form === 'pretty'
        ? new Screen(module, process.stdout, role).show
        : jsonLog(process.stdout, link?.name)
    unserved.link = link
    if (link?.place.stub) await serveStub(command, { where, log, link, unserved })
    else if (link || isAlone) {
      await serveHere(module, command, { where, log, link, unserved })
    } else await superviseHere(module, command, { where, emit: log, reloading, unserved })
  } catch (error) {
    if (unserved.isEnding || isStopped(error)) return
    unserved.fail(error)
  }
}

/** What this process shows where it is no worker. */
function roleOf({ reload, workers = 1 }: ServeCommand, isAlone: boolean): Role {
  if (reload) return 'reloading'
  return isAlone || workers > 1 ? 'whole' : 'around'
}

/** Is there to be but this process? @throws `ERR_BAD_OPTION` when there are to be others, too */
function isUnsupervised(command: ServeCommand): boolean {
  const { supervisor, workers = 1, reload } = command
  // Windows has no descriptors to hand on
  const isAlone = !supervisor || process.platform === 'win32'
  const found = supervisor ? 'on Windows' : 'with --no-supervisor'
  if (isAlone) refuseWatch(command, found)
  if (!isAlone || (workers === 1 && !reload)) return isAlone
  if (reload) {
    const message = `Cannot reload ${found}: another process starts the new code; leave out --reload`
    throw new StewardError('ERR_BAD_OPTION', message)
  }
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot run ${workers} workers ${found}: there is but one process then, leave out --workers`,
  )
}

interface Here {
  readonly where: Place
  readonly log: Emit
  /** To the supervisor, in a worker of one. */
  readonly link: WorkerLink | undefined
  readonly unserved: Unserved
}

/** In this process, until it has closed. A service that ended by itself ends its process, too. */
async function serveHere(module: string, command: ServeCommand, here: Here): Promise<void> {
  const { where, log, link, unserved } = here
  if (typeof command.control === 'string' && !link) throw uncontrolled(command.control)
  // Not needed by a supervisor, which holds less without them and without Node's protocols
  const { serveRun } = await import('../service/serve.ts')
  const { load } = await import('./load.ts')
  const tls = tlsOf(command)
  const on = link ? both(log, link.follow) : readyAt(command, log)
  const inspect = link ? link.place.inspect : inspectorOf(command, process)
  if (inspect) openInspector(inspect)
  const isDeveloped = link?.place.development ?? false
  if (link && isDeveloped) tellLoadedFiles(link.loads)
  const loaded = await load(module, command)
  if (unserved.isEnding) return
  const usual = {
    ...optionsOf(command, where, loaded),
    state: command.state ?? stateFolderFor(module, process.env),
    ...tls,
    on,
  }
  const options = isDeveloped ? inDevelopment(usual, loaded.definition) : usual
  if (link?.place.errand) {
    const { runErrand } = await import('./errand.ts')
    const code = await runErrand(link.place.errand, loaded.definition, { serve: options, emit: on })
    link.end(code === 0)
    return leave(code, NOWHERE)
  }
  if (link && !(await mayGoOn(link, loaded, options))) return leave(0, NOWHERE)
  if (unserved.isEnding) return
  if (command.pid !== undefined && !link) writePid(command.pid)
  const running = await serveRun(
    loaded.definition,
    link ? { ...options, signalExitCodes: false } : options,
    link,
  )
  link?.take(running)
  const { clean } = await running.closed
  leave(clean ? 0 : 1, { emit: log, world: realWorld })
}

/** In the place of the app, until a worker is ready: with its protocols and its limits, and nothing of it. */
async function serveStub(
  command: ServeCommand,
  { log, link, unserved }: Here & { link: WorkerLink },
): Promise<void> {
  const { http2, keepAlive, health, healthLive = '/livez', healthReady = '/readyz' } = command
  const { serveRun } = await import('../service/serve.ts')
  const { stubService } = await import('./stub.ts')
  const stub = stubService(link.place.stub!, health && { live: healthLive, ready: healthReady })
  const tls = tlsOf(command)
  await link.loaded({ grace: stub.gracefulTimeout, prepares: false, exclusive: [] })
  // Of what it does its supervisor tells
  const logError: Emit = (event) => event.type === 'error' && log(event)
  const options = { ...given({ http2, keepAlive }), limits: limitsOf(command), ...tls }
  const on = both(logError, link.follow)
  const running = await serveRun(stub, { ...options, health: false, on }, link)
  if (unserved.isEnding) return
  link.take(running)
  await running.closed
  leave(0, NOWHERE)
}

function both(one: Emit, other: Emit): Emit {
  return (event) => {
    one(event)
    other(event)
  }
}

/** Where s6 waits for the service, it is told as well. @throws `ERR_BAD_OPTION` */
function readyAt({ notifyFd }: ServeCommand, log: Emit): Emit {
  return notifyFd === undefined ? log : both(log, notifyDescriptor(notifyFd, log))
}

/** What its supervisor has to know of a worker that is loaded. Is it this one that is to go on? */
async function mayGoOn(
  link: WorkerLink,
  { definition, port }: Loaded,
  options: ServeOptions,
): Promise<boolean> {
  const { checkExclusive, exclusiveOf } = await import('../service/exclusive.ts')
  const { workers, defaultPort } = link.place
  const exclusive = exclusiveOf(definition)
  checkExclusive(exclusive, workers)
  if (defaultPort !== undefined && port !== undefined && port !== defaultPort) {
    link.elsewhere(port)
    return false
  }
  const { gracefulTimeout: grace } = settingsOf(definition, options)
  await link.loaded({ grace, prepares: definition.prepares, exclusive })
  return true
}

function uncontrolled(path: string): StewardError {
  const message = `Cannot open the control socket "${path}": without a supervisor nobody serves it; leave out --no-supervisor`
  return new StewardError('ERR_BAD_OPTION', message)
}

interface Supervising {
  readonly where: Place
  readonly emit: Emit
  readonly reloading: Reloading | undefined
  readonly unserved: Unserved
}

/** In workers, until the last of them has ended. */
async function superviseHere(
  module: string,
  command: ServeCommand,
  { where, emit, reloading, unserved }: Supervising,
): Promise<void> {
  const { workers, gracefulTimeout, signalExitCodes, control } = command
  const watch = watchOf(command)
  const { tls } = tlsOf(command)
  if (reloading) {
    // What no change of the code would set right ends it at once
    const { find } = await import('./load.ts')
    find(module)
    if (tls) {
      const { Certificate } = await import('../http/certificates.ts')
      await Certificate.load(tls)
    }
  }
  if (command.pid !== undefined) writePid(command.pid)
  const serve = { ...where, ...given({ gracefulTimeout, tls, signalExitCodes }) }
  const isPlaced = isElsewhere(where)
  const inspect = inspectorOf(command, process)
  const told = readyAt(command, emit)
  closeInspector()
  await supervise({
    workers: workers ?? 1,
    serve,
    isPlaced,
    watch,
    inspect,
    emit: told,
    module,
    control,
    reloading,
    isEnding: () => unserved.isEnding,
  })
}

/** What the process is told while no service runs: before it has been loaded, and after it has closed. */
class Unserved implements Guarded {
  readonly #command: ServeCommand
  readonly #form: Form
  /** To the supervisor, which is told what is wrong. */
  link: WorkerLink | undefined
  /** Was it asked to end before there was a service? */
  isEnding = false

  constructor(command: ServeCommand, form: Form) {
    this.#command = command
    this.#form = form
  }

  stop(name: string): void {
    this.isEnding = true
    leave(exitCode(name, this.#command), NOWHERE)
  }

  force(): void {}

  fail(error: unknown): void {
    // The import of a module that listens fails with this, too
    if (this.isEnding) return
    this.isEnding = true
    printFatal(error, this.#form)
    this.link?.failed(error)
    leave(exitCodeOf(error), NOWHERE)
  }
}

const NOWHERE = { emit: () => {}, world: realWorld }

type Place = Pick<ServeOptions, 'host' | 'port' | 'unix' | 'fd' | 'bind'>

/** Where to listen, of what was given. */
function placeOf({ host, port, bind, unix, fd }: ServeCommand): Place {
  return given({ host, port, bind, unix, fd })
}

/** TLS, when its two files are given. @throws `ERR_BAD_OPTION` when one of them is missing */
function tlsOf({ tlsCert, tlsKey, tlsCa }: ServeCommand): Pick<ServeOptions, 'tls'> {
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

function optionsOf(command: ServeCommand, where: Place, { port }: Loaded): ServeOptions {
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
function isElsewhere(where: Place): boolean {
  const isNamed = Object.keys(where).length > 0 || process.env['PORT'] !== undefined
  return isNamed || isActivated(process)
}

function limitsOf(command: ServeCommand): NonNullable<ServeOptions['limits']> {
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
function given<Options extends object>(options: Options): Given<Options> {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Given<Options>
}

import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { Duration } from '../base/deadline.ts'
import { describeError, StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { realWorld } from '../base/world.ts'
import { Certificate } from '../http/certificates.ts'
import { isActivated } from '../service/activation.ts'
import { leave } from '../service/leaving.ts'
import { settingsOf, type ServeOptions } from '../service/options.ts'
import { exitCode, guard, serveRun } from '../service/serve.ts'
import type { Guarded } from '../service/signals.ts'
import { isStopped } from '../service/starting.ts'
import { exitCodeOf, printFatal, survivePipes, type Form } from './fatal.ts'
import { stateFolderFor } from '../service/state.ts'
import { inDevelopment } from './developing.ts'
import { find, load, type Loaded, type LoadOptions } from './load.ts'
import { tellLoadedFiles } from './loaded-files.ts'
import { jsonLog } from './log.ts'
import { reloadingOf, type Reloading, type ReloadOptions } from './reload.ts'
import { Screen } from './screen.ts'
import { stubService } from './stub.ts'
import { supervise } from './supervise.ts'
import { WorkerLink } from './worker.ts'

/** The options of `steward serve`, as they were given. */
export interface ServeCommand extends LoadOptions, ReloadOptions {
  host?: string
  port?: number
  bind?: string
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
  log?: 'pretty' | 'json'
  pid?: string
  state?: string
  health: boolean
  healthLive?: string
  healthReady?: string
  healthKeepReady?: boolean
  watchdog: boolean
  signalExitCodes?: boolean
  workers?: number
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
    const log =
      form === 'pretty'
        ? new Screen(module, process.stdout, link?.place).show
        : jsonLog(process.stdout, link && { slot: link.place.slot, pid: process.pid })
    unserved.link = link
    const reloading = link ? undefined : reloadingOf(command)
    if (link?.place.stub) await serveStub(command, { where, log, link, unserved })
    else if ((command.workers === undefined && !reloading) || link) {
      await serveHere(module, command, { where, log, link, unserved })
    } else await superviseHere(module, command, { where, emit: log, reloading })
  } catch (error) {
    if (unserved.isEnding || isStopped(error)) return
    unserved.fail(error)
  }
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
  const tls = tlsOf(command)
  const isDeveloped = link?.place.development ?? false
  if (link && isDeveloped) tellLoadedFiles(link.loads)
  const loaded = await load(module, command)
  if (unserved.isEnding) return
  const on: Emit = link ? (event) => (log(event), link.follow(event)) : log
  const place = link ? { fd: link.place.fd } : where
  const usual = {
    ...optionsOf(command, place, loaded),
    state: command.state ?? stateFolderFor(module, process.env),
    ...tls,
    on,
  }
  const options = isDeveloped ? inDevelopment(usual, loaded.definition) : usual
  link?.loaded(settingsOf(loaded.definition, options).gracefulTimeout)
  const removePid = command.pid === undefined || link ? undefined : writePid(command.pid)
  try {
    const running = await serveRun(
      loaded.definition,
      link ? { ...options, signalExitCodes: false } : options,
    )
    link?.take(running)
    const { clean } = await running.closed
    leave(clean ? 0 : 1, { emit: log, world: realWorld })
  } finally {
    removePid?.()
  }
}

/** In the place of the app, until a worker is ready: with its protocols and its limits, and nothing of it. */
async function serveStub(
  command: ServeCommand,
  { log, link, unserved }: Here & { link: WorkerLink },
): Promise<void> {
  const { http2, keepAlive, health, healthLive = '/livez', healthReady = '/readyz' } = command
  const probes = health && { live: healthLive, ready: healthReady }
  const stub = stubService(link.place.stub!, probes)
  const tls = tlsOf(command)
  link.loaded(stub.gracefulTimeout)
  const running = await serveRun(stub, {
    fd: link.place.fd,
    ...given({ http2, keepAlive }),
    limits: limitsOf(command),
    health: false,
    ...tls,
    on: (event) => {
      // Of what it does its supervisor tells
      if (event.type === 'error') log(event)
      link.follow(event)
    },
  })
  if (unserved.isEnding) return
  link.take(running)
  await running.closed
  leave(0, NOWHERE)
}

function uncontrolled(path: string): StewardError {
  const message = `Cannot open the control socket "${path}": only a service with --workers is controlled; give --workers as well`
  return new StewardError('ERR_BAD_OPTION', message)
}

interface Supervising {
  readonly where: Place
  readonly emit: Emit
  readonly reloading: Reloading | undefined
}

/** In workers, until the last of them has ended. */
async function superviseHere(
  module: string,
  command: ServeCommand,
  { where, emit, reloading }: Supervising,
): Promise<void> {
  const { workers = 1, gracefulTimeout, signalExitCodes, control } = command
  const { tls } = tlsOf(command)
  if (reloading) {
    // What no change of the code would set right ends it at once
    find(module)
    if (tls) await Certificate.load(tls)
  }
  const removePid = command.pid === undefined ? undefined : writePid(command.pid)
  try {
    const serve = { ...where, ...given({ gracefulTimeout, tls, signalExitCodes }) }
    await supervise({ workers, serve, emit, module, control, reloading })
  } finally {
    removePid?.()
  }
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

type Place = Pick<ServeOptions, 'host' | 'port' | 'unix' | 'fd'>

/** Where to listen: one place, said in one way. @throws `ERR_BAD_OPTION` */
function placeOf({ host, port, bind, unix, fd }: ServeCommand): Place {
  const place = { ...(host === undefined ? {} : { host }), ...(port === undefined ? {} : { port }) }
  const named = [
    Object.keys(place).length > 0,
    bind !== undefined,
    unix !== undefined,
    fd !== undefined,
  ].filter(Boolean)
  if (named.length > 1) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      'Cannot listen in several places: give one of --host and --port, --bind, --unix, --fd',
    )
  }
  if (unix !== undefined) return { unix }
  if (fd !== undefined) return { fd }
  return bind === undefined ? place : parseBind(bind)
}

function parseBind(bind: string): Place {
  const [, unix] = /^unix:(?:\/\/)?(.+)$/.exec(bind) ?? []
  if (unix !== undefined) return { unix }
  const [, fd] = /^fd:\/\/(\d+)$/.exec(bind) ?? []
  if (fd !== undefined) return { fd: Number(fd) }
  const [, host, port] = /^(?:\[?([^\]]*?)\]?:)?(\d+)$/.exec(bind) ?? []
  if (port !== undefined && Number(port) <= 65_535) {
    return { port: Number(port), ...(host ? { host } : {}) }
  }
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot listen on --bind "${bind}": give host:port, unix:path or fd://number`,
  )
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
  const isElsewhere =
    Object.keys(where).length > 0 || process.env['PORT'] !== undefined || isActivated(process)
  const own = port === undefined || isElsewhere ? {} : { port }
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

function limitsOf(command: ServeCommand): NonNullable<ServeOptions['limits']> {
  const { limitHeaders, limitRequest, limitSend, limitHeaderSize, limitConnections } = command
  return given({
    headers: limitHeaders,
    request: limitRequest,
    send: limitSend,
    headerSize: limitHeaderSize,
    connections: limitConnections,
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

/** Writes the pid file, and gives what removes it if it is still ours. @throws `ERR_BAD_OPTION` when another process has it */
function writePid(file: string): () => void {
  const other = pidIn(file)
  if (other !== process.pid && isAlive(other)) {
    throw badPid(file, `process ${other} runs and has it; stop it, or name another file`)
  }
  try {
    writeFileSync(file, `${process.pid}\n`)
  } catch (cause) {
    throw badPid(file, `${describeError(cause)}; name a file that can be written`, cause)
  }
  return () => {
    if (pidIn(file) === process.pid) rmSync(file)
  }
}

function pidIn(file: string): number {
  const isFile = statSync(file, { throwIfNoEntry: false })?.isFile() ?? false
  return isFile ? Number(readFileSync(file, 'utf8').trim()) : Number.NaN
}

function badPid(file: string, found: string, cause?: unknown): StewardError {
  const details = cause === undefined ? {} : { cause }
  return new StewardError(
    'ERR_BAD_OPTION',
    `Cannot write the pid file "${file}": ${found}`,
    details,
  )
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM'
  }
}

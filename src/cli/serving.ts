import { StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { realWorld } from '../base/world.ts'
import { checkExclusive, exclusiveOf } from '../service/exclusive.ts'
import { leave } from '../service/leaving.ts'
import { settingsOf, type ServeOptions } from '../service/options.ts'
import { serveRun } from '../service/serve.ts'
import { stateFolderFor } from '../service/state.ts'
import { inDevelopment } from './developing.ts'
import { inspectorOf, openInspector } from './inspection.ts'
import { load, type Loaded } from './load.ts'
import { tellLoadedFiles } from './loaded-files.ts'
import {
  both,
  given,
  limitsOf,
  optionsOf,
  readyAt,
  tlsOf,
  type Place,
  type ServeCommand,
} from './options.ts'
import { writePid } from './pid-file.ts'
import { NOWHERE, type Unserved } from './unserved.ts'
import type { WorkerLink } from './worker.ts'

interface Here {
  readonly where: Place
  readonly log: Emit
  /** To the supervisor, in a worker of one. */
  readonly link: WorkerLink | undefined
  readonly unserved: Unserved
}

interface StubHere extends Pick<Here, 'log' | 'unserved'> {
  readonly link: WorkerLink
}

/** In this process, until it has closed. A service that ended by itself ends its process, too. */
export async function serveHere(module: string, command: ServeCommand, here: Here): Promise<void> {
  const { where, log, link, unserved } = here
  if (typeof command.control === 'string' && !link) throw uncontrolled(command.control)
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
export async function serveStub(
  command: ServeCommand,
  { log, link, unserved }: StubHere,
): Promise<void> {
  const { http2, keepAlive, health, healthLive = '/livez', healthReady = '/readyz' } = command
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

/** What its supervisor has to know of a worker that is loaded. Is it this one that is to go on? */
async function mayGoOn(
  link: WorkerLink,
  { definition, port }: Loaded,
  options: ServeOptions,
): Promise<boolean> {
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

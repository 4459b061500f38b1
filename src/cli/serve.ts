import { StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { guard } from '../service/signals.ts'
import { isStopped } from '../service/stages.ts'
import { WORKER_VARIABLE } from '../supervisor/messages.ts'
import { survivePipes } from './fatal.ts'
import { closeInspector, inspectorOf } from './inspection.ts'
import { jsonLog } from './log.ts'
import {
  given,
  isElsewhere,
  placeOf,
  readyAt,
  tlsOf,
  type Place,
  type ServeCommand,
} from './options.ts'
import { writePid } from './pid-file.ts'
import type { Reloading } from './reload.ts'
import { Screen, type Role } from './screen.ts'
import { Unserved } from './unserved.ts'
import { refuseWatch, watchOf } from './watch.ts'
import type { WorkerLink } from './worker.ts'

/** `steward serve`: loads a module and serves it until a signal stops it. Sets the exit code. */
export async function serveModule(module: string, command: ServeCommand): Promise<void> {
  const form = command.log ?? (process.stdout.isTTY ? 'pretty' : 'json')
  survivePipes()
  const unserved = new Unserved(command, form)
  guard.keep(unserved)
  try {
    const where = placeOf(command)
    const link = await linkOf(command)
    const isAlone = !link && isUnsupervised(command)
    const reloading = link ? undefined : await reloadingOf(command)
    const role = link?.role ?? roleOf(command, isAlone)
    const log =
      form === 'pretty'
        ? new Screen(module, process.stdout, role).show
        : jsonLog(process.stdout, link?.name)
    unserved.link = link
    if (!link && !isAlone) {
      return await superviseHere(module, command, { where, emit: log, reloading, unserved })
    }
    // A supervisor lives long, and holds less without the app's server and Node's protocols
    const { serveHere, serveStub } = await import('./serving.ts')
    if (link?.place.stub) await serveStub(command, { log, link, unserved })
    else await serveHere(module, command, { where, log, link, unserved })
  } catch (error) {
    if (unserved.isEnding || isStopped(error)) return
    unserved.fail(error)
  }
}

/** To the supervisor, where one has started this process. @throws `ERR_STOPPING` when it is gone already */
async function linkOf(command: ServeCommand): Promise<WorkerLink | undefined> {
  if (process.env[WORKER_VARIABLE] === undefined) return undefined
  const { WorkerLink } = await import('./worker.ts')
  return WorkerLink.take(command)
}

/** Reloading, or nothing where it was not asked for. @throws `ERR_BAD_OPTION` for what is asked for without it, or is not there */
async function reloadingOf(command: ServeCommand): Promise<Reloading | undefined> {
  if (command.reload) return new (await import('./reload.ts')).Reloading(command)
  const given = Object.entries({
    '--reload-dir': command.reloadDir,
    '--reload-include': command.reloadInclude,
    '--reload-exclude': command.reloadExclude,
  }).find(([, value]) => value !== undefined)
  if (!given) return undefined
  const message = `Cannot use ${given[0]} without --reload: nothing is watched; give --reload as well`
  throw new StewardError('ERR_BAD_OPTION', message)
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
  if (inspect) closeInspector()
  const { supervise } = await import('./supervise.ts')
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

import { milliseconds } from '../base/deadline.ts'
import type { Emit } from '../base/events.ts'
import { realWorld, type Release } from '../base/world.ts'
import { leave } from '../service/leaving.ts'
import { Notifier, takeNotifySettings } from '../service/notify.ts'
import type { ServeOptions } from '../service/options.ts'
import { exitCode, guard } from '../service/serve.ts'
import { onSignal, type Guarded } from '../service/signals.ts'
import { Supervisor, type System } from '../supervisor/supervisor.ts'
import { ServiceControl } from './control.ts'
import { spawnWorker } from './processes.ts'
import { Sockets } from './sockets.ts'

/** How long each step of a worker's start may take, in milliseconds. */
const BOOT = 60_000

/** How long a stop may take where nothing is said, in milliseconds: what `service()` has by default. */
const GRACE = 25_000

/** How a service is supervised. */
export interface SuperviseOptions {
  readonly workers: number
  /** Where to listen, how long a stop may take, and with which codes to exit; its other fields are the workers' own. */
  readonly serve: ServeOptions
  readonly emit: Emit
  /** The module, as it was given. */
  readonly module: string
  /** Where its control socket is; `undefined` for the default place, `false` for none. */
  readonly control: string | false | undefined
}

/**
 * Runs workers on the same listening sockets until a signal stops them, and sets the exit code. Nothing of the app is loaded here.
 *
 * @throws `ERR_LISTEN`, `ERR_BAD_OPTION`, both before any worker is started
 */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const { workers, serve, emit } = options
  const sockets = await Sockets.bind(serve)
  for (const message of sockets.warnings) emit({ type: 'warning', message })
  const grace = serve.gracefulTimeout === undefined ? GRACE : milliseconds(serve.gracefulTimeout)
  const { module, control: path } = options
  const control = new ServiceControl({ module, path, emit, world: realWorld })
  const notify = notifying(emit)
  const tell: Emit = (event) => {
    if (event.type === 'worker.ready') reveal(sockets, emit)
    control.follow(event)
    notify(event)
  }
  const system: System = {
    world: realWorld,
    spawn: (place) => spawnWorker({ ...place, listen: sockets.listen }),
    release: () => void sockets.release(),
  }
  const supervisor = new Supervisor(system, { workers, emit: tell, boot: BOOT, grace })
  const closeControl = await openControl(control, supervisor, sockets)
  const release = follow(supervisor)
  for (const url of sockets.urls) tell({ type: 'supervisor.listening', url, workers })
  supervisor.start()
  const { code } = await supervisor.closed
  const asked = release()
  closeControl()
  leave(code || exitCode(asked ?? '', serve), { emit, world: realWorld })
}

function reveal(sockets: Sockets, emit: Emit): void {
  try {
    sockets.reveal()
  } catch (error) {
    emit({ type: 'error', message: 'A Unix socket could not be put in its place', error })
  }
}

async function openControl(
  control: ServiceControl,
  supervisor: Supervisor,
  sockets: Sockets,
): Promise<Release> {
  try {
    return await control.open(supervisor)
  } catch (error) {
    await sockets.release()
    throw error
  }
}

/**
 * The process's signals: HUP replaces the workers, unless a terminal sends it. What it returns ends that, and gives the signal that
 * asked the process to end.
 */
function follow(supervisor: Supervisor): () => string | undefined {
  const guarded: Guarded = {
    stop: (reason) => supervisor.stop(reason),
    force: (reason) => supervisor.force(reason),
    fail: (error) => supervisor.fail(error),
    ...(process.stdin.isTTY ? {} : { reload: (reason: string) => supervisor.restart(reason) }),
  }
  guard.add(guarded)
  const killAll = (): void => {
    for (const worker of supervisor.workers) worker.kill()
  }
  process.once('exit', killAll)
  const releases = [
    onSignal('SIGTTIN', () => supervisor.scaleBy(1)),
    onSignal('SIGTTOU', () => supervisor.scaleBy(-1)),
    () => process.off('exit', killAll),
  ]
  return () => {
    for (const release of releases) release()
    return guard.remove(guarded)
  }
}

/** systemd hears of the service, which is ready with its first worker, from its main process alone. */
function notifying(emit: Emit): Emit {
  const settings = takeNotifySettings(process)
  if (!settings) return emit
  const warn = (message: string): void => emit({ type: 'warning', message })
  const notifier = new Notifier(settings, { warn, world: realWorld })
  let isReady = false
  return (event) => {
    emit(event)
    if (event.type === 'supervisor.listening') {
      notifier.follow({ type: 'service.listening', url: event.url })
    }
    if (event.type === 'worker.ready' && !isReady) {
      isReady = true
      notifier.follow({ type: 'service.ready', took: event.took })
    }
    if (event.type === 'supervisor.stopping') {
      notifier.follow({ type: 'service.stopping', reason: event.reason, grace: event.grace })
    }
  }
}

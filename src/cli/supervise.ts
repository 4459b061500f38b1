import { spawn } from 'node:child_process'
import { milliseconds } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import { realWorld, type Release } from '../base/world.ts'
import type { Binding } from '../http/binding.ts'
import { leave } from '../service/leaving.ts'
import { Notifier, takeNotifySettings } from '../service/notify.ts'
import type { ServeOptions } from '../service/options.ts'
import { RELOAD_GRACE } from './developing.ts'
import { bindPlace, exitCode, guard } from '../service/serve.ts'
import { onSignal, type Guarded } from '../service/signals.ts'
import { WORKER_VARIABLE, type FromWorker, type WorkerPlace } from '../supervisor/messages.ts'
import { Supervisor, type System } from '../supervisor/supervisor.ts'
import type { Child } from '../supervisor/worker.ts'
import { ServiceControl } from './control.ts'
import type { Reloading } from './reload.ts'

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
  /** Where its code is being developed. */
  readonly reloading?: Reloading | undefined
}

/**
 * Runs workers on one listening socket until a signal stops them, and sets the exit code. Nothing of the app is loaded here.
 *
 * @throws `ERR_LISTEN`, `ERR_BAD_OPTION`, both before any worker is started
 */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const { workers, serve, emit } = options
  const { binding, warnings } = await bindPlace(serve)
  for (const message of warnings) emit({ type: 'warning', message })
  const fd = descriptorOf(binding)
  const grace = serve.gracefulTimeout === undefined ? GRACE : milliseconds(serve.gracefulTimeout)
  const { module, control: path, reloading } = options
  const plain = binding.describe()
  const url = serve.tls ? plain.replace(/^http:/, 'https:') : plain
  const control = new ServiceControl({ module, url, path, emit, world: realWorld })
  const notify = notifying(emit)
  const tell: Emit = (event) => {
    reloading?.follow(event)
    control.follow(event)
    notify(event)
  }
  const system: System = {
    world: realWorld,
    spawn: (place) => spawnPlace({ ...place, fd }, reloading),
    release: () => void binding.release(),
  }
  const development = reloading !== undefined
  const limits = { boot: BOOT, grace: development ? Math.min(grace, RELOAD_GRACE) : grace }
  const supervisor = new Supervisor(system, { workers, emit: tell, ...limits, development })
  const closeControl = await openControl(control, supervisor, binding)
  const release = follow(supervisor)
  const closeReloading = await reloading?.open(supervisor, tell)
  const mode = development ? { reload: true } : {}
  tell({ type: 'supervisor.listening', url, workers, ...mode })
  supervisor.start()
  const { code } = await supervisor.closed
  const asked = release()
  closeReloading?.()
  closeControl()
  leave(code || exitCode(asked ?? '', serve), { emit, world: realWorld })
}

async function openControl(
  control: ServiceControl,
  supervisor: Supervisor,
  binding: Binding,
): Promise<Release> {
  try {
    return await control.open(supervisor)
  } catch (error) {
    await binding.release()
    throw error
  }
}

function descriptorOf(binding: Binding): number {
  const fd = binding.fd()
  if (fd !== undefined) return fd
  void binding.release()
  throw new StewardError(
    'ERR_BAD_OPTION',
    'Cannot share a Unix socket between workers: give --host and --port, or pass a socket that listens with --fd',
  )
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
  const killAll = (): void => supervisor.kill()
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

/** What is asked for: a worker, or what stands in for all of them. */
function spawnPlace(
  { isStub, ...place }: { slot: number; generation: number; isStub?: boolean; fd: number },
  reloading: Reloading | undefined,
): Child {
  const development = reloading ? true : undefined
  if (isStub) {
    return spawnWorker({ ...place, development, stub: { failure: reloading?.failure } })
  }
  const child = spawnWorker({ ...place, development })
  reloading?.take(child, place.generation)
  return child
}

/** A worker is the same command again, in a process group of its own, with the socket behind its channel. */
function spawnWorker(place: WorkerPlace): Child {
  const [, program = '', ...args] = process.argv
  const inherited: WorkerPlace = { ...place, fd: 4 }
  // What is loaded first belongs to the app
  const first = place.stub ? [] : process.execArgv
  const child = spawn(process.execPath, [...first, program, ...args], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', place.fd],
    env: { ...process.env, [WORKER_VARIABLE]: JSON.stringify(inherited) },
  })
  const { pid } = child
  return {
    pid: pid ?? 0,
    send: (message) => void (child.connected && child.send(message, () => {})),
    kill: () => killGroup(pid),
    onMessage: (listener) => void child.on('message', (message) => listener(message as FromWorker)),
    onExit(listener) {
      child.on('error', (error) => {
        // Only without a process is that its end
        if (pid === undefined) listener({ code: 1, signal: null, error: error.message })
      })
      child.once('exit', (code, signal) => {
        // What it has spawned goes with it
        killGroup(pid)
        listener({ code, signal })
      })
    },
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left in it
  }
}

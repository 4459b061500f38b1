import { milliseconds } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Emit, ServiceEvent } from '../base/events.ts'
import { realWorld, type Release } from '../base/world.ts'
import { leave } from '../service/leaving.ts'
import { Notifier, takeNotifySettings } from '../service/notify.ts'
import type { ServeOptions } from '../service/options.ts'
import { DEFAULT_PORT } from '../service/places.ts'
import { exitCode, guard, onSignal, type Guarded } from '../service/signals.ts'
import type { InspectorPlace } from '../supervisor/messages.ts'
import { Supervisor } from '../supervisor/supervisor.ts'
import type { System } from '../supervisor/system.ts'
import type { Child } from '../supervisor/worker.ts'
import { Admission } from './admission.ts'
import { ServiceControl } from './control.ts'
import { RELOAD_GRACE } from './developing.ts'
import { Inspectors } from './inspection.ts'
import { spawnWorker } from './processes.ts'
import type { Reloading } from './reload.ts'
import { Settlement } from './settlement.ts'
import { Sockets } from './sockets.ts'
import { beatFor, type Watch } from './watch.ts'

/** How long a stop may take where nothing is said, in milliseconds: what `service()` has by default. */
const GRACE = 25_000

/** How a service is supervised. */
export interface SuperviseOptions {
  readonly workers: number
  /** Where to listen, how long a stop may take, and with which codes to exit; its other fields are the workers' own. */
  readonly serve: ServeOptions
  /** Did anybody name a place? Else the service may, when it is loaded. */
  readonly isPlaced: boolean
  /** How workers are watched: a step of a start may take as long as it likes where it can be looked into. */
  readonly watch: Watch
  /** Where the first worker opens its inspector; the others have the ports after it. */
  readonly inspect: InspectorPlace | undefined
  readonly emit: Emit
  /** The module, as it was given. */
  readonly module: string
  /** Where its control socket is; `undefined` for the default place, `false` for none. */
  readonly control: string | false | undefined
  /** Where its code is being developed. */
  readonly reloading?: Reloading | undefined
  /** Was the process asked to end before there was a supervisor? */
  isEnding(): boolean
}

/**
 * Runs workers on the same listening sockets until a signal stops them, and sets the exit code. Nothing of the app is loaded here.
 *
 * @throws `ERR_LISTEN`, `ERR_BAD_OPTION`, both before any worker is started
 */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const { serve, emit } = options
  const sockets = await (options.isPlaced ? Sockets.bind(serve) : Sockets.bindDefault(serve))
  for (const message of sockets.warnings) emit({ type: 'warning', message })
  const supervision = new Supervision(sockets, options)
  const code = await supervision.run()
  leave(code, { emit, world: realWorld })
}

/** A supervisor, and what goes on around it in this process. */
class Supervision {
  readonly #options: SuperviseOptions
  readonly #sockets: Sockets
  readonly #control: ServiceControl
  readonly #settlement: Settlement
  readonly #admission: Admission
  readonly #supervisor: Supervisor
  readonly #inspectors: Inspectors | undefined
  readonly #notifier: Notifier | undefined
  readonly #tell: Emit
  /** Why the last worker did not become ready, as long as none has been. */
  #startFailure: string | undefined = undefined
  #wasReady = false

  constructor(sockets: Sockets, options: SuperviseOptions) {
    const { workers, serve, emit, module, control: path, inspect, reloading } = options
    this.#options = options
    this.#sockets = sockets
    const grace = serve.gracefulTimeout === undefined ? GRACE : milliseconds(serve.gracefulTimeout)
    this.#inspectors = inspect && new Inspectors(inspect)
    this.#notifier = notifierOf(emit)
    this.#tell = (event) => {
      if (event.type === 'worker.ready' || event.type === 'stub.ready') reveal(sockets, emit)
      this.#followStart(event)
      reloading?.follow(event)
      this.#control.follow(event)
      this.#settlement.follow(event)
      emit(event)
      this.#inspectors?.follow(event)
      this.#notifier?.follow(event)
      // Where there is no place to listen on, no change of the code makes one
      if (this.#admission.trouble !== undefined) this.#supervisor.stop('it cannot listen')
    }
    this.#settlement = new Settlement({
      spawn: () => this.#errand('settle'),
      emit: this.#tell,
      grace,
    })
    this.#admission = new Admission({
      sockets,
      settlement: this.#settlement,
      emit: this.#tell,
      spawn: () => this.#errand('prepare'),
      listening: () => this.#listening(),
      progress: () => this.#notifier?.progress(),
    })
    const prepare = (): void => this.#admission.again()
    this.#control = new ServiceControl({ module, path, emit, prepare, world: realWorld })
    const boot = inspect ? Infinity : options.watch.boot
    const development = reloading !== undefined
    const own = development ? Math.min(grace, RELOAD_GRACE) : grace
    const limits = { ...options.watch, boot, grace: own, development }
    this.#supervisor = new Supervisor(this.#system(), { workers, emit: this.#tell, ...limits })
  }

  /** Resolves when the last process is gone, with the exit code. @throws what stands in the way of the start */
  async run(): Promise<number> {
    const supervisor = this.#supervisor
    const closeControl = await this.#openControl()
    const release = follow(supervisor, this.#settlement)
    const closeReloading = await this.#options.reloading?.open(supervisor, this.#tell)
    // A place that was named is certain
    if (this.#options.isPlaced) this.#admission.checkPlace()
    if (this.#options.isEnding()) supervisor.stop('it was to end before it had begun')
    supervisor.start()
    const { code } = await supervisor.closed
    closeReloading?.()
    await this.#settlement.run(supervisor.stopTook)
    const asked = release()
    closeControl()
    const { trouble, wasTold } = this.#admission
    if (trouble !== undefined) throw trouble
    if (code !== 0 && asked === undefined && this.#startFailure !== undefined && !wasTold) {
      throw noWorker(this.#startFailure)
    }
    return code || exitCode(asked ?? '', this.#options.serve)
  }

  #followStart(event: ServiceEvent): void {
    if (event.type === 'worker.ready') this.#wasReady = true
    else if (event.type === 'worker.gone' && event.cause !== '') this.#startFailure = event.cause
    if (this.#wasReady) this.#startFailure = undefined
  }

  #system(): System {
    return {
      world: realWorld,
      spawn: ({ isStub, ...place }) => {
        const { listen } = this.#sockets
        const { reloading } = this.#options
        const development = reloading !== undefined
        const beat = beatFor(this.#options.watch.hang)
        if (isStub) {
          const stub = { failure: reloading?.failure }
          return spawnWorker({ ...place, development, stub, listen, beat }, this.#options.watch)
        }
        const open = this.#admission.isCertain ? {} : { defaultPort: DEFAULT_PORT }
        const inspect = this.#inspectors?.free(place.slot)
        const whole = { ...place, ...open, ...(inspect && { inspect }), development, listen, beat }
        const process = spawnWorker(whole, this.#options.watch)
        reloading?.take(process, place.generation)
        const child = this.#admission.of(process)
        this.#inspectors?.started(place.slot, child)
        return child
      },
      release: () => void this.#sockets.release(),
    }
  }

  #errand(errand: 'prepare' | 'settle'): Child {
    const place = { slot: 0, generation: 0, workers: 1, listen: [], errand }
    return spawnWorker(place, { watchdog: false })
  }

  #listening(): void {
    const { workers } = this.#options
    for (const url of this.#sockets.urls) this.#tell({ type: 'supervisor.listening', url, workers })
  }

  async #openControl(): Promise<Release> {
    try {
      return await this.#control.open(this.#supervisor)
    } catch (error) {
      await this.#sockets.release()
      throw error
    }
  }
}

/** Of a worker that has not said itself what is wrong. */
function noWorker(cause: string): StewardError {
  return new StewardError(
    'ERR_WORKER',
    `Cannot start the service: its first worker did not become ready (${cause}); look for process.exit(), for what it waits for, and at --boot-timeout`,
  )
}

function reveal(sockets: Sockets, emit: Emit): void {
  try {
    sockets.reveal()
  } catch (error) {
    emit({ type: 'error', message: 'A Unix socket could not be put in its place', error })
  }
}

/**
 * The process's signals: HUP replaces the workers, unless a terminal sends it. What it returns ends that, and gives the signal that
 * asked the process to end.
 */
function follow(supervisor: Supervisor, settlement: Settlement): () => string | undefined {
  const guarded: Guarded = {
    stop: (reason) => supervisor.stop(reason),
    force: (reason) => (supervisor.force(reason), settlement.kill()),
    fail: (error) => supervisor.fail(error),
    ...(process.stdin.isTTY ? {} : { reload: (reason: string) => supervisor.restart(reason) }),
  }
  guard.add(guarded)
  const killAll = (): void => {
    supervisor.kill()
    settlement.kill()
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

/** systemd hears of the service from its main process alone. */
function notifierOf(emit: Emit): Notifier | undefined {
  const settings = takeNotifySettings(process)
  const warn = (message: string): void => emit({ type: 'warning', message })
  return settings && new Notifier(settings, { warn, world: realWorld })
}

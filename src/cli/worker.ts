import { milliseconds } from '../base/deadline.ts'
import { describeError, withoutSecrets } from '../base/errors.ts'
import type { ServiceEvent } from '../base/events.ts'
import { realWorld, type Release } from '../base/world.ts'
import type { ServeOptions } from '../service/options.ts'
import type { ServiceRun } from '../service/run.ts'
import type { AsWorker } from '../service/serve.ts'
import type { Guarded } from '../service/signals.ts'
import type { StopManner } from '../service/settings.ts'
import { stoppingError } from '../service/stages.ts'
import {
  WORKER_VARIABLE, type Failure, type FromWorker, type InheritedSocket, type LoadedService, type StopKind, type ToWorker, type WorkerPlace,
} from '../supervisor/messages.ts' // oxfmt-ignore
import { failureOf } from './fatal.ts'
import { openInspector } from './inspection.ts'
import type { Role } from './screen.ts'
import { rooms } from '../websocket/rooms.ts'
import { Vitals } from './vitals.ts'

/** How long an idle connection was promised to be kept, where nothing else was said, in milliseconds. */
const KEEP_ALIVE = 75_000

/** How long an idle connection is kept where the next worker waits for the end of this one, in milliseconds. */
const SHORT_IDLE = 100

/**
 * How long a signal is taken for one that every process of the service is sent, as systemd does it, in milliseconds: then its supervisor asks
 * it to stop by then, and no successor is to be started for nothing.
 */
const SOON = 100

/** In development nobody waits for what an old worker has under way. In milliseconds. */
const SHORT: StopManner = { idle: SHORT_IDLE, drainDelay: 0, drain: 300, atOnce: true }

/** How much of an error's message is told, in characters: all of it is in the log. */
const LONGEST_REASON = 500

/** The worker's side of the channel to its supervisor. */
export class WorkerLink implements AsWorker {
  readonly place: WorkerPlace
  readonly #keepAlive: number
  #run: ServiceRun | undefined
  /** Ends the beats. */
  #silence: Release = () => {}
  readonly #admitted = Promise.withResolvers<void>()
  #wasReady = false
  /** Was it the supervisor that asked it to stop? */
  #asked = false
  /** Stops the run that is still to come: the signal of a stop may find its start at an end. */
  #stopRun: ((run: ServiceRun) => void) | undefined
  /** The last error that was told: why it stops, if it does. */
  #lastError: unknown

  private constructor(place: WorkerPlace, options: Pick<ServeOptions, 'keepAlive'>) {
    this.place = place
    const { keepAlive } = options
    this.#keepAlive = keepAlive === undefined ? KEEP_ALIVE : milliseconds(keepAlive)
    process.on('message', (message) => this.#hear(message as ToWorker))
    process.once('disconnect', this.#orphaned)
    // What never ends by itself must not look alive because of it
    process.channel?.unref()
  }

  /** Takes the place that a supervisor has given to this process. Once: its children are no workers. @throws `ERR_STOPPING` when it is gone */
  static take(options: Pick<ServeOptions, 'keepAlive'>): WorkerLink {
    const { [WORKER_VARIABLE]: place = '' } = process.env
    delete process.env[WORKER_VARIABLE]
    if (!process.connected) throw stoppingError('the worker', 'its supervisor is gone')
    return new WorkerLink(JSON.parse(place) as WorkerPlace, options)
  }

  /** What it shows of itself: all of it where there is no other, or where it does one thing in the place of serving. */
  get role(): Role {
    const { errand, slot, workers, development } = this.place
    if (development) return 'reloaded'
    return errand === undefined && workers > 1 ? slot : 'whole'
  }

  /** What each of its log lines says about where it comes from. */
  get name(): { slot?: number; errand?: string; pid: number } {
    const { slot, errand } = this.place
    return { ...(errand === undefined ? { slot } : { errand }), pid: process.pid }
  }

  /** The module is loaded. Resolves when it may open what it holds: never, where the supervisor would rather have it stop. */
  loaded(service: LoadedService): Promise<void> {
    this.#send({ t: 'loaded', ...service })
    // With nothing open yet, it is all that there is to wait for
    process.channel?.ref()
    return this.#admitted.promise
  }

  /** The module names another port than the one that would be listened on: the next process is to listen there. */
  elsewhere(port: number): void {
    this.#send({ t: 'elsewhere', port })
  }

  /** Tells the supervisor how it goes. */
  readonly follow = (event: ServiceEvent): void => {
    switch (event.type) {
      case 'resource.opened':
      case 'hook.ended':
        return this.#send({ t: 'progress' })
      case 'journal.opened':
        return this.#send({ t: 'journal', folder: event.folder })
      case 'service.ready':
        this.#wasReady = true
        return this.#send({ t: 'ready' })
      case 'error':
        this.#lastError = event.error
        return
      case 'service.stopping':
        return this.#asked ? undefined : this.#dying(event.reason)
      case 'service.closed':
        // Soon nothing can be told any more
        if (!this.#wasReady && event.errors.length > 0) this.failed(event.errors[0])
        return this.end(event.clean)
      default:
        return undefined
    }
  }

  get sockets(): readonly InheritedSocket[] {
    return this.place.listen
  }

  get questions(): number {
    return this.place.questions!
  }

  /** A first signal asks to be replaced, as long as there is somebody who would do it; a second one forces. */
  guardedFor(run: ServiceRun): Guarded {
    return {
      stop: (reason) => {
        if (run.state !== 'running' || !process.connected) void run.stop(reason)
        else realWorld.timer(SOON, () => this.#askToRetire(reason), 'idle')
      },
      force: (reason) => void run.force(reason),
      fail: (error) => run.fail(error),
    }
  }

  #askToRetire(reason: string): void {
    if (!this.#asked) this.#send({ t: 'retire', reason })
  }

  /** Takes the run that it is about, as soon as it has started: from now on it is told how that does. */
  take(run: ServiceRun): void {
    this.#run = run
    const vitals = new Vitals()
    const beat = (): void => {
      this.#send(vitals.beat(run))
      this.#silence = realWorld.timer(this.place.beat!, beat, 'idle')
    }
    beat()
    // One of them says it for all, and a single worker is the first
    const { errand, slot } = this.place
    if (errand === undefined && slot === 1 && run.app.graph.find(rooms)) tellOfRooms(run)
    this.#stopRun?.(run)
  }

  /** Tells why there is nothing to run. */
  failed(error: unknown): void {
    const [reason = ''] = withoutSecrets(describeError(error)).split('\n')
    this.#send({ t: 'failed', reason: reason.slice(0, LONGEST_REASON), ...this.#shown(error) })
  }

  /** Tells of a file that is about to be loaded. */
  readonly loads = (file: string, digest: string): void => {
    this.#send({ t: 'loads', file, digest })
  }

  #dying(reason: string): void {
    this.#send({ t: 'dying', reason, ...this.#shown(this.#lastError) })
  }

  /** All of an error, where somebody develops. */
  #shown(error: unknown): { failure?: Failure } {
    return this.place.development && error !== undefined ? { failure: failureOf(error) } : {}
  }

  #hear(message: ToWorker): void {
    if (message.t === 'go') return this.#go()
    if (message.t === 'inspect') return openInspector(message)
    this.#asked = true
    if (message.t === 'force') this.#force(message.reason)
    else this.#stop(message.reason, this.#mannerOf(message.kind))
  }

  #go(): void {
    process.channel?.unref()
    this.#admitted.resolve()
  }

  /** Until it has started there is nothing to drain: a signal of its own reaches every part of a start. */
  #stop(reason: string, manner: StopManner): void {
    const isAsked = this.#stopRun !== undefined
    this.#stopRun = (run) => void run.stop(reason, manner)
    if (this.#run) this.#stopRun(this.#run)
    // A second one would force it
    else if (!isAsked) process.kill(process.pid, 'SIGTERM')
  }

  #force(reason: string): void {
    if (this.#run) void this.#run.force(reason)
    else process.kill(process.pid, 'SIGINT')
  }

  /** Where others serve on, a connection is kept as long as it was promised, and nobody has to look away. */
  #mannerOf(kind: StopKind): StopManner {
    const goesOn = kind !== 'stop'
    const manner = { staysReady: goesOn, restarts: goesOn, othersAccept: goesOn }
    if (this.place.development) return { ...SHORT, ...manner }
    if (!goesOn) return { othersAccept: false }
    // Somebody waits: with every connection that is kept, clients wait as well
    const idle = kind === 'handover' ? SHORT_IDLE : this.#keepAlive
    return { ...manner, drainDelay: 0, idle }
  }

  /** The supervisor is gone: nobody would start another one, the port must become free, and what it has spawned must end. */
  readonly #orphaned = (): void => {
    process.once('exit', () => process.kill(-process.pid, 'SIGKILL'))
    this.#stop('its supervisor is gone', { drainDelay: 0, othersAccept: false })
  }

  /** What it was started for is over: it ends. */
  end(clean: boolean): void {
    this.#silence()
    this.#send({ t: 'closed', clean })
    process.off('disconnect', this.#orphaned)
    // It would hold the event loop
    if (process.connected) process.disconnect()
  }

  #send(message: FromWorker): void {
    // The supervisor may have died meanwhile; then `disconnect` comes
    if (process.connected) process.send?.(message, undefined, undefined, () => {})
  }
}

function tellOfRooms({ emit }: ServiceRun): void {
  const message =
    'Rooms reach the clients of one worker only, and there are several: pass on what is broadcast by way of a database or a broker, or serve with one'
  emit({ type: 'warning', message })
}

import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { describeError } from '../base/errors.ts'
import type { ServiceEvent } from '../base/events.ts'
import { realWorld, type Release, type World } from '../base/world.ts'

/** What ends a start that makes no progress, when the unit's own time is over by then. In milliseconds. */
const STEP = 30_000

/** Progress within so many milliseconds of the last that was told is not told: each telling is a process. */
const OFTEN = 1_000

/** What a stop takes beyond its grace at the very most: the watchdog's second, and one more to end. In milliseconds. */
const BEYOND = 2_000

/** What a process has been given to speak with its service manager. */
export interface NotifySettings {
  /** NOTIFY_SOCKET: a path, or an abstract name (`@…`). */
  readonly socket: string
  /** Where `systemd-notify` is looked for. */
  readonly path: string
  /** How often the manager wants to hear WATCHDOG=1, in milliseconds, if it does. */
  readonly watchdog: number | undefined
}

/**
 * What systemd has set for this very process, or nothing; the variables are removed, so that no child speaks in its name.
 */
export function takeNotifySettings({
  env,
  pid,
}: Pick<NodeJS.Process, 'env' | 'pid'>): NotifySettings | undefined {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, PATH = '' } = env
  if (!NOTIFY_SOCKET) return undefined
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name]
  const isOurs = WATCHDOG_PID === undefined || WATCHDOG_PID === String(pid)
  const watchdog = isOurs && Number(WATCHDOG_USEC) > 0 ? Number(WATCHDOG_USEC) / 1_000 : undefined
  return { socket: NOTIFY_SOCKET, path: PATH, watchdog }
}

/**
 * Tells systemd what a service tells (sd_notify(3)), through the program `systemd-notify`: Node has no Unix datagrams. A
 * reader of events like any other.
 *
 * ```
 * steps of the start ──▶ EXTEND_TIMEOUT_USEC   each one gives the next STEP ms
 * service.ready ───────▶ READY=1 STATUS        and WATCHDOG=1 at half its time from here on
 * service.stopping ────▶ STOPPING=1 STATUS EXTEND_TIMEOUT_USEC
 *                                              once, for all of the grace: the stop is bounded by it, and by nothing else
 * service.closed ──────▶ what is not told yet is told now; nothing after it
 * ```
 *
 * Of a supervisor it takes the same: its first worker that is ready makes the service so. A reload is told between two READY=1:
 *
 * ```
 * roll.started ────────▶ RELOADING=1 MONOTONIC_USEC STATUS
 * roll.ended, .failed ─▶ READY=1 STATUS
 * ```
 *
 * The time that the unit allows is only ever extended: systemd ignores an extension that ends earlier.
 */
export class Notifier {
  readonly #settings: NotifySettings
  readonly #warn: (message: string) => void
  readonly #world: World
  /** Not told yet: one is told at a time. */
  #queue: string[][] = []
  #isTelling = false
  #hasWarned = false
  /** Of the last progress of the start that was told; no progress of a start comes after it. */
  #progressAt = Infinity
  /** Of the next WATCHDOG=1; ends when the service has closed. */
  #releaseWatchdog: Release = () => {}
  readonly #urls: string[] = []
  #wasReady = false

  constructor(
    settings: NotifySettings,
    { warn, world = realWorld }: { warn: (message: string) => void; world?: World | undefined },
  ) {
    this.#settings = settings
    this.#warn = warn
    this.#world = world
  }

  /** Listens to the stream of a service. */
  readonly follow = (event: ServiceEvent): void => {
    switch (event.type) {
      case 'service.opening':
        this.#progressAt = this.#world.now()
        return
      case 'resource.opened':
      case 'hook.ended':
        return this.progress()
      case 'service.listening':
      case 'supervisor.listening':
        this.#urls.push(event.url)
        return
      case 'service.ready':
        return this.#ready()
      case 'service.stopping':
      case 'supervisor.stopping':
        return this.#stopping(event)
      case 'service.closed':
      case 'supervisor.closed':
        return this.#closed()
      default:
        this.#followWorkers(event)
    }
  }

  #followWorkers(event: ServiceEvent): void {
    switch (event.type) {
      case 'worker.starting':
        if (!this.#wasReady && this.#progressAt === Infinity) this.#progressAt = this.#world.now()
        return
      case 'worker.ready':
        return this.#wasReady ? undefined : this.#ready()
      case 'roll.started':
        return this.#reloading(`Reloading (${event.reason}), to generation ${event.generation}`)
      case 'roll.ended':
        return this.#reloaded(`generation ${event.generation}`)
      case 'roll.failed':
        return this.#reloaded(`generation ${event.generation} did not start`)
      default:
    }
  }

  #reloading(text: string): void {
    // systemd takes it for the answer to its own request when the clock, CLOCK_MONOTONIC, is right
    const now = process.hrtime.bigint() / 1_000n
    this.#tell('RELOADING=1', `MONOTONIC_USEC=${now}`, status(text))
  }

  #reloaded(how: string): void {
    this.#tell('READY=1', status(`Serving on ${this.#urls.join(', ')}, ${how}`))
  }

  /** The start comes on: it gets more time. */
  progress(): void {
    const now = this.#world.now()
    if (now - this.#progressAt < OFTEN) return
    this.#progressAt = now
    this.#tell(extend(STEP))
  }

  #ready(): void {
    this.#wasReady = true
    // What opens from now on is no progress of a start
    this.#progressAt = Infinity
    this.#tell('READY=1', status(`Serving on ${this.#urls.join(', ')}`))
    const { watchdog } = this.#settings
    if (watchdog !== undefined) this.#feedWatchdog(watchdog / 2)
  }

  /** By a timer of the event loop: one that is blocked tells nothing, and systemd acts. */
  #feedWatchdog(every: number): void {
    const feed = (): void => {
      this.#tell('WATCHDOG=1')
      this.#feedWatchdog(every)
    }
    this.#releaseWatchdog = this.#world.timer(every, feed, 'idle')
  }

  #stopping({ reason, grace }: { reason: string; grace: number }): void {
    this.#progressAt = Infinity
    const told = status(`Stopping (${reason}), within ${grace / 1_000} s`)
    this.#tell('STOPPING=1', told, extend(grace + BEYOND))
  }

  /** The process may end at any moment: nothing waits for its turn. */
  #closed(): void {
    this.#releaseWatchdog()
    for (const words of this.#queue.splice(0)) void this.#run(words)
  }

  #tell(...words: string[]): void {
    // One that nobody has taken for a whole interval says nothing new
    if (this.#queue.some((waiting) => waiting.join() === words.join())) return
    this.#queue.push(words)
    void this.#next()
  }

  /** One after the other, so that systemd hears them in their order. */
  async #next(): Promise<void> {
    if (this.#isTelling) return
    this.#isTelling = true
    for (let words = this.#queue.shift(); words; words = this.#queue.shift()) await this.#run(words)
    this.#isTelling = false
  }

  /**
   * Resolves when the program has ended, well or not. It holds neither the event loop nor the process, and is started
   * before this returns: it tells even when the process has gone.
   */
  async #run(words: readonly string[]): Promise<void> {
    const setting = { ...this.#settings, world: this.#world }
    const problem = await notify(words, setting).catch(describeError)
    if (problem === undefined || this.#hasWarned) return
    this.#hasWarned = true
    this.#warn(`systemd is not told of the service: ${problem}`)
  }
}

/** How long the program may take, in milliseconds: a little more than it waits for systemd itself. */
const TELLING = 6_000

/** Runs the program once; gives what went wrong. */
async function notify(
  words: readonly string[],
  { socket, path, world }: NotifySettings & { world: World },
): Promise<string | undefined> {
  // Without --no-block: systemd looks up whose word it is, and must find the sender alive
  const program = spawn('systemd-notify', words, {
    env: { NOTIFY_SOCKET: socket, PATH: path },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said = program.stderr as Socket
  let text = ''
  said.setEncoding('utf8').on('data', (some: string) => (text += some))
  said.unref()
  program.unref()
  const release = world.timer(TELLING, () => program.kill(), 'idle')
  const problem = await new Promise<string | undefined>((resolve) => {
    program.on('error', (error) => resolve(notStarted(error)))
    program.on('close', (code) => resolve(code === 0 ? undefined : failed(code, text.trim())))
  })
  release()
  return problem
}

function notStarted({ code, message }: NodeJS.ErrnoException): string {
  if (code !== 'ENOENT') return `systemd-notify does not start: ${message}`
  return 'there is no systemd-notify in the PATH; install it, or take Type=exec and no WatchdogSec'
}

function failed(code: number | null, said: string): string {
  if (code === null) return `systemd-notify had not ended after ${TELLING / 1_000} s`
  return `systemd-notify failed with exit code ${code}${said && `: ${said}`}`
}

/** One line of text: what would be a line of its own would be a word of its own to systemd. */
function status(text: string): string {
  return `STATUS=${text.replaceAll(/[\s\0]+/g, ' ').slice(0, 200)}`
}

function extend(ms: number): string {
  return `EXTEND_TIMEOUT_USEC=${Math.ceil(ms * 1_000)}`
}

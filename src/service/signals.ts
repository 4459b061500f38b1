import { writeSync } from 'node:fs'
import { realWorld, type Release, type World } from '../base/world.ts'

/** What signals and lost errors are told to. */
export interface Guarded {
  /** The first signal. */
  stop(reason: string): unknown
  /** The second one. */
  force(reason: string): unknown
  /** An error that nobody caught: logged, and the service stops in order. */
  fail(error: unknown): void
  /** SIGHUP, where that does not mean that a terminal was closed. @default it stops */
  reload?(reason: string): void
}

/** Signals that ask a process to end: of the platform's supervisor, of Ctrl-C, of a terminal that was closed. */
export const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** What shells give a process that a signal has ended. */
const SIGNAL_CODES: Readonly<Record<string, number>> = {
  SIGHUP: 129,
  SIGINT: 130,
  SIGTERM: 143,
}

/** The same signal within this time is one that was sent twice, as npm and some platforms do. In milliseconds. */
const SENT_TWICE = 500

/**
 * Counts the signals that ask to end: 1 stops, 2 forces, 3 ends the process at once. The same one again within 500 ms does
 * not count.
 */
export class SignalCount {
  #count = 0
  #last: { name: string; at: number } | undefined

  /** Which one it is, or 0 when it was sent twice. */
  next(name: string, now: number): number {
    if (this.#last?.name === name && now - this.#last.at < SENT_TWICE) return 0
    this.#last = { name, at: now }
    return ++this.#count
  }
}

/**
 * Listens to the process for as long as something is guarded: signals stop it, then force it, then end the process; errors
 * that nobody caught stop it in order.
 */
export class ProcessGuard {
  readonly #world: World
  readonly #guarded = new Set<Guarded>()
  /** Who is told while nothing is guarded: with it, the listeners stay to the end of the process. */
  #fallback: Guarded | undefined
  #count = new SignalCount()
  #unlistenSignals: Release | undefined
  #unlistenErrors: Release | undefined
  #unlistenExit: Release | undefined
  /** What asked the process to end, once something has. */
  #asked: string | undefined

  constructor(world: World) {
    this.#world = world
  }

  /** Listens from now on to the end of the process, and tells `fallback` what comes while nothing is guarded. */
  keep(fallback: Guarded): void {
    this.#fallback = fallback
    this.#listen()
  }

  /** Guards one more. */
  add(guarded: Guarded): void {
    this.#guarded.add(guarded)
    this.#unlistenExit ??= listen(['exit'], (code) => tellUnclosed(code as number))
    this.#listen()
  }

  /**
   * It has ended: is it the last, and the process was asked to end? Then what asked for that, a signal's name or an error.
   *
   * With the last one the listeners go: those for errors at once, since nobody is left to tell; those for signals 500 ms
   * later, since one that is sent twice must not kill the process that has just obeyed it.
   */
  remove(guarded: Guarded): string | undefined {
    this.#guarded.delete(guarded)
    if (this.#guarded.size > 0) return undefined
    this.#unlistenExit?.()
    this.#unlistenExit = undefined
    if (!this.#fallback) {
      this.#unlistenErrors?.()
      this.#unlistenErrors = undefined
      this.#world.timer(SENT_TWICE, () => this.#rest(), 'idle')
    }
    return this.#asked
  }

  #listen(): void {
    this.#unlistenSignals ??= listen(STOP_SIGNALS, (name) => this.#onSignal(name as string))
    this.#unlistenErrors ??= listen(LOST_ERRORS, (error) => this.#onError(error))
  }

  #rest(): void {
    if (this.#guarded.size > 0) return
    this.#unlistenSignals?.()
    this.#unlistenSignals = undefined
    this.#count = new SignalCount()
    this.#asked = undefined
  }

  #onSignal(name: string): void {
    const reloads = this.#told().filter(({ reload }) => reload)
    if (name === 'SIGHUP' && reloads.length > 0) {
      for (const one of reloads) one.reload!(name)
      return
    }
    const count = this.#count.next(name, this.#world.now())
    if (count === 0) return
    const told = this.#told()
    if (told.length === 0 && this.#asked === undefined) return this.#giveBack(name)
    this.#asked ??= name
    if (count > 2) process.exit(1)
    for (const one of told) void (count === 1 ? one.stop(name) : one.force(name))
  }

  /** Everything had ended without being asked by the process, which goes on: what comes now is not for us. */
  #giveBack(name: string): void {
    this.#rest()
    process.kill(process.pid, name)
  }

  #onError(error: unknown): void {
    this.#asked ??= 'an error that nobody caught'
    for (const one of this.#told()) one.fail(error)
  }

  #told(): Guarded[] {
    if (this.#guarded.size > 0) return [...this.#guarded]
    return this.#fallback ? [this.#fallback] : []
  }
}

/** Of this process; listens to nothing as long as nothing is guarded. */
export const guard: ProcessGuard = new ProcessGuard(realWorld)

/** What a process exits with that was asked to end, and ended well. */
export function exitCode(
  asked: string,
  { signalExitCodes }: { signalExitCodes?: boolean },
): number {
  return signalExitCodes ? (SIGNAL_CODES[asked] ?? 0) : 0
}

const UNCLOSED =
  'steward: the process has ended while it served: nothing was closed; call running.stop() in the place of process.exit()\n'

/** Somebody has called `process.exit` while something was served: that cuts, so the code is not 0. */
function tellUnclosed(code: number): void {
  if (code !== 0) return
  process.exitCode = 1
  try {
    writeSync(2, UNCLOSED)
  } catch {
    // Nobody reads it; the code remains
  }
}

/** Calls `run` for each of these signals, until released. */
export function onSignal(name: 'SIGTTIN' | 'SIGTTOU' | 'SIGCONT', run: () => void): Release {
  return listen([name], run)
}

const LOST_ERRORS = ['uncaughtException', 'unhandledRejection'] as const

function listen(names: readonly string[], listener: (first: unknown) => void): Release {
  for (const name of names) process.on(name, listener)
  return () => {
    for (const name of names) process.off(name, listener)
  }
}

import type { Release, World } from '../base/world.ts'

/** What signals and lost errors are told to. */
export interface Guarded {
  /** The first signal. */
  stop(reason: string): Promise<unknown>
  /** The second one. */
  force(reason: string): Promise<unknown>
  /** An error that nobody caught: logged, and the service stops in order. */
  fail(error: unknown): void
}

/** Signals that ask a process to end: of the platform's supervisor, of Ctrl-C, of a terminal that was closed. */
export const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

/** The same signal within this time is one that was sent twice, as npm and some platforms do. In milliseconds. */
export const SENT_TWICE = 500

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
  #count = new SignalCount()
  #unlistenSignals: Release | undefined
  #unlistenErrors: Release | undefined
  /** What asked the process to end, once something has. */
  endedBy: string | undefined

  constructor(world: World) {
    this.#world = world
  }

  /**
   * Guards one more. With the last one that is released the listeners go: those for errors at once, since nobody is left to
   * tell; those for signals 500 ms later, since one that is sent twice must not kill the process that has just obeyed it.
   */
  add(guarded: Guarded): Release {
    this.#guarded.add(guarded)
    this.#unlistenSignals ??= listen(STOP_SIGNALS, (name) => this.#onSignal(name as string))
    this.#unlistenErrors ??= listen(LOST_ERRORS, (error) => this.#onError(error))
    return () => {
      this.#guarded.delete(guarded)
      if (this.#guarded.size > 0) return
      this.#unlistenErrors?.()
      this.#unlistenErrors = undefined
      this.#world.timer(SENT_TWICE, () => this.#rest(), 'idle')
    }
  }

  #rest(): void {
    if (this.#guarded.size > 0) return
    this.#unlistenSignals?.()
    this.#unlistenSignals = undefined
    this.#count = new SignalCount()
    this.endedBy = undefined
  }

  #onSignal(name: string): void {
    const count = this.#count.next(name, this.#world.now())
    if (count === 0) return
    this.endedBy ??= name
    if (count > 2) process.exit(1)
    for (const guarded of this.#guarded) void (count === 1 ? guarded.stop(name) : guarded.force(name))
  }

  #onError(error: unknown): void {
    this.endedBy ??= 'an error that nobody caught'
    for (const guarded of this.#guarded) guarded.fail(error)
  }
}

const LOST_ERRORS = ['uncaughtException', 'unhandledRejection'] as const

function listen(names: readonly string[], listener: (first: unknown) => void): Release {
  for (const name of names) process.on(name, listener)
  return () => {
    for (const name of names) process.off(name, listener)
  }
}

import { Deadline } from '../base/deadline.ts'
import type { Emit, ServiceEvent } from '../base/events.ts'
import { realWorld } from '../base/world.ts'
import { settingsOf, type ServeOptions } from '../service/options.ts'
import { prepareOnce } from '../service/preparing.ts'
import type { ServiceDefinition } from '../service/service.ts'
import { guard, type Guarded } from '../service/signals.ts'
import { settleNotes } from '../service/settling.ts'
import { isStopped, stoppingError } from '../service/stages.ts'
import type { WorkerPlace } from '../supervisor/messages.ts'

/** What it is done with. */
export interface ErrandOptions {
  readonly serve: ServeOptions & { readonly state: string }
  readonly emit: Emit
}

/**
 * Does the one thing that this process was started for; gives its exit code: 0 when it is done, or was stopped.
 *
 * @throws as `prepareOnce`, `settleNotes`
 */
export async function runErrand(
  errand: NonNullable<WorkerPlace['errand']>,
  definition: ServiceDefinition,
  { serve, emit }: ErrandOptions,
): Promise<0 | 1> {
  const stop = new Stop(definition.name, settingsOf(definition, serve).gracefulTimeout)
  guard.add(stop)
  try {
    if (errand === 'settle') {
      const on = (event: ServiceEvent): void => emit(event)
      const left = await settleNotes(definition, { state: serve.state, signal: stop.signal, on })
      return left.length === 0 ? 0 : 1
    }
    const { signal, limit } = stop
    const settings = settingsOf(definition, serve)
    await prepareOnce(definition, { ...settings, emit, world: realWorld, signal, limit })
    return 0
  } catch (error) {
    if (stop.failure !== undefined) throw stop.failure
    if (!stop.wasAsked || !isStopped(error)) throw error
    return 0
  } finally {
    guard.remove(stop)
  }
}

/** The end of it, when its supervisor or a signal asks for that. */
class Stop implements Guarded {
  readonly #name: string
  readonly #grace: number
  readonly #abort = new AbortController()
  /** Until when a hook is waited for: for ever, unless it is stopped. */
  readonly limit: Deadline = new Deadline(Infinity, realWorld)
  wasAsked = false
  /** An error that nobody caught: what follows from it is no news. */
  failure: unknown = undefined

  constructor(name: string, grace: number) {
    this.#name = name
    this.#grace = grace
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  stop(reason: string): void {
    this.wasAsked = true
    this.#abort.abort(stoppingError(this.#name, reason))
    this.limit.hurry(this.#grace / 5)
  }

  force(reason: string): void {
    this.stop(reason)
    this.limit.hurry(0)
  }

  fail(error: unknown): void {
    this.failure ??= error
    this.#abort.abort(error)
    this.limit.hurry(this.#grace / 5)
  }
}

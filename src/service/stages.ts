import { Deadline } from '../base/deadline.ts'
import { isStewardError, StewardError } from '../base/errors.ts'
import type { Emit, Served, StageTimes, Waiting } from '../base/events.ts'
import type { Release, World } from '../base/world.ts'
import type { DrainLimits } from '../http/drain.ts'
import type { Goodbye } from '../http/goodbyes.ts'
import { errorsOf } from '../scope/failure.ts'
import { runHook, type BoundHook } from './hooks.ts'
import type { ServiceDefinition } from './service.ts'
import type { StopManner } from './settings.ts'

/**
 * The one budget of a stop, divided (CONTRACT.md): every stage lives inside it.
 *
 * ```
 * 0        drain delay            T1          T2        G − C/2          G
 * ├─ lame duck ─┼───── drain ──────┼─ signals ─┼─ cleanups ─┼─ closing ──┤  C = the close reserve
 *                                  aborted     503 or cut
 * ```
 */
export interface Budget extends DrainLimits {
  /** G, in milliseconds. */
  readonly grace: number
  /** C, in milliseconds. */
  readonly reserve: number
  readonly drainDelay: Deadline
  /** The delay is over when nothing has come for so long, in milliseconds; `undefined`: it is not cut short. */
  readonly drainQuiet: number | undefined
  /** When `onShutdown` hooks are abandoned. */
  readonly shutdownHooks: Deadline
  /** The whole of it. */
  readonly end: Deadline
}

/** How long an idle connection may still send one last request when the whole service stops. */
export const IDLE_WINDOW = 1_000

/** What a budget is made of, in milliseconds. */
export interface Dividing {
  grace: number
  drainDelay: number
  drainQuiet?: number | undefined
  /** How long an idle connection may still send a last request. @default 1_000 */
  idle?: number | undefined
  /** How long what is under way may take. @default all that is not kept back for closing */
  drain?: number | undefined
}

/** Divides the grace, from now on. Times are in milliseconds. */
export function divide(
  { grace, drainDelay, drainQuiet, idle = IDLE_WINDOW, drain = Infinity }: Dividing,
  { world, force }: { world: World; force: AbortSignal },
): Budget {
  const reserve = reserveOf(grace)
  const end = Deadline.in(grace, world)
  const at = (ms: number): Deadline => Deadline.in(ms, world)
  return {
    grace,
    reserve,
    end,
    force,
    idle,
    drainDelay: at(Math.min(drainDelay, grace - reserve)),
    drainQuiet,
    shutdownHooks: at(Math.min(Math.max(drainDelay, grace / 5), grace - reserve)),
    t1: at(Math.min(grace - reserve - Math.min(1_000, grace / 10), drain / 2)),
    t2: at(Math.min(grace - reserve, drain)),
    cleanup: at(grace - reserve / 2),
  }
}

/** C = clamp(G/5, min(1 s, G/2), 5 s): what is kept back for closing. */
export function reserveOf(grace: number): number {
  return Math.min(5_000, Math.max(grace / 5, Math.min(1_000, grace / 2)))
}

/** What a stop took that had nothing to stop. */
export const NO_TIME: StageTimes = { stopping: 0, draining: 0, closing: 0 }

/** Going away (RFC 6455 §7.4.1), and the restart of a service, after which clients may come back at once (IANA's registry). */
const [GOING_AWAY, RESTART] = [1001, 1012]

/** How the clients of upgraded connections are parted with. */
export function goodbyeOf(
  { goodbye: { code, reason = '' } = {} }: Pick<ServiceDefinition, 'goodbye'>,
  { restarts, atOnce = false }: StopManner,
): Goodbye {
  return { code: code ?? (restarts ? RESTART : GOING_AWAY), reason, atOnce }
}

/** What takes requests: an HTTP server, or calls of `fetch`. */
export interface Traffic {
  /** Everything is still served; the last responses say so. */
  stopping(): void
  /** When a request came last that was no probe, since the stop began; on the world's clock. 0: none has. */
  lastArrival(): number
  drain(limits: DrainLimits): Promise<void>
}

/** What is stopped. Hooks are in the order in which they run. */
export interface Stopping {
  readonly emit: Emit
  readonly world: World
  readonly traffic: Traffic
  readonly onShutdown: readonly BoundHook[]
  /** `onDrained`, then the lifespan's second half. */
  readonly onDrained: readonly BoundHook[]
  served(): Served
  /** Told when a stage begins. */
  enter(stage: 'draining' | 'closing'): void
  closeResources(limit: Deadline): Promise<void>
}

/** What came of a stop. `clean`: nothing was cut and nothing failed. Times are in milliseconds. */
export interface StopReport {
  readonly clean: boolean
  readonly served: Served
  readonly took: StageTimes
  readonly errors: readonly unknown[]
}

/**
 * The stop sequence: the app is told, then traffic drains, then everything closes in reverse. Never rejects: every failure
 * is in the report, and stops nothing else.
 */
export async function stopInStages(target: Stopping, budget: Budget): Promise<StopReport> {
  const errors: unknown[] = []
  const { world } = target
  const began = world.now()
  onForce(budget)
  await lameDuck(target, budget, errors)
  const stopped = world.now()
  target.enter('draining')
  await drain(target, budget)
  const drained = world.now()
  target.enter('closing')
  await close(target, budget, errors)
  const served = target.served()
  const took = {
    stopping: stopped - began,
    draining: drained - stopped,
    closing: world.now() - drained,
  }
  return { clean: errors.length === 0 && served.cut === 0, served, took, errors }
}

/** `onShutdown` runs while everything is served, and the drain delay passes. */
async function lameDuck(target: Stopping, budget: Budget, errors: unknown[]): Promise<void> {
  target.traffic.stopping()
  const hooks = runAll(target.onShutdown, { ...target, limit: budget.shutdownHooks, errors })
  await Promise.all([hooks, delay(target, budget)])
}

/** The drain delay; it ends early when nothing has come for the quiet time, since whoever balances knows by then. */
async function delay({ traffic, world }: Stopping, budget: Budget): Promise<void> {
  const { drainDelay, drainQuiet } = budget
  if (drainQuiet === undefined) return passed(drainDelay)
  const began = world.now()
  for (let quiet = 0; quiet < drainQuiet && drainDelay.remaining > 0;) {
    await passed(drainDelay.atMost(drainQuiet - quiet))
    quiet = world.now() - Math.max(began, traffic.lastArrival())
  }
}

async function drain(target: Stopping, budget: Budget): Promise<void> {
  target.emit({ type: 'service.draining' })
  await target.traffic.drain(budget)
  target.emit({ type: 'drain.ended', served: target.served() })
}

async function close(target: Stopping, { end }: Budget, errors: unknown[]): Promise<void> {
  target.emit({ type: 'service.closing' })
  await runAll(target.onDrained, { ...target, limit: end, errors, reserve: 1 })
  try {
    await target.closeResources(end)
  } catch (error) {
    errors.push(...errorsOf(error))
  }
}

/** A second signal: what is left is cut, and everything closes within C in total. */
function onForce({ force, reserve, ...budget }: Budget): void {
  const hurry = (): void => {
    budget.drainDelay.hurry(0)
    budget.shutdownHooks.hurry(0)
    budget.cleanup.hurry(reserve / 2)
    budget.end.hurry(reserve)
  }
  if (force.aborted) hurry()
  else force.addEventListener('abort', hurry, { once: true })
}

/** What running several hooks takes. */
export interface RunningAll {
  readonly emit: Emit
  readonly world: World
  /** Until when all of them are waited for. */
  readonly limit: Deadline
  /** Takes what failed. */
  readonly errors: unknown[]
  /** How many shares of the time are kept back for what follows. @default 0 */
  readonly reserve?: number
}

/**
 * Runs hooks one after the other, whatever the others do. Each gets an even share of what is left, so that one that hangs
 * leaves time for the rest.
 */
export async function runAll(hooks: readonly BoundHook[], running: RunningAll): Promise<void> {
  const { emit, world, limit, errors, reserve = 0 } = running
  for (const [index, hook] of hooks.entries()) {
    const share = limit.remaining / (hooks.length - index + reserve)
    try {
      await runHook(hook, { emit, world, limit: limit.atMost(share) })
    } catch (error) {
      errors.push(error)
    }
  }
}

/** Says once a second what is waited for, until released. */
export function tellWaiting(
  type: 'start.waiting' | 'drain.waiting',
  waiting: () => readonly Waiting[],
  { emit, world }: { emit: Emit; world: World },
): Release {
  const tell = (): void => {
    const list = waiting()
    if (list.length > 0) emit({ type, for: list })
    release = world.timer(1_000, tell)
  }
  let release = world.timer(1_000, tell)
  return () => release()
}

function passed(deadline: Deadline): Promise<void> {
  if (deadline.remaining === 0) return Promise.resolve()
  return new Promise((resolve) => void deadline.when(resolve))
}

/** The reason of everything that a stop ends. */
export function stoppingError(name: string, reason: string): StewardError {
  return new StewardError('ERR_STOPPING', `Cannot go on: ${name} is stopping (${reason})`)
}

/** Did this start end because it was stopped, and was all of it undone well? */
export function isStopped(error: unknown): boolean {
  const stopped = isStewardError(error, 'ERR_OPEN_ABORTED') || isStewardError(error, 'ERR_STOPPING')
  return stopped && error.errors.length === 0
}

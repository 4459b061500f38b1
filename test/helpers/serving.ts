import type { AddressInfo } from 'node:net'
import { Deadline } from '../../src/base/deadline.ts'
import type { ServiceEvent } from '../../src/base/events.ts'
import { realWorld } from '../../src/base/world.ts'
import { bind } from '../../src/http/binding.ts'
import type { DrainLimits } from '../../src/http/drain.ts'
import { HttpServer, type HttpServerOptions } from '../../src/http/server.ts'
import { within } from './within.ts'

/** Limits in milliseconds from now, on the server's clock. */
export interface Limits {
  t1?: number
  t2?: number
  cleanup?: number
  idle?: number
  force?: AbortSignal
}

/** A server that listens on a port of its own, and what it told. */
export interface Serving extends AsyncDisposable {
  server: HttpServer
  port: number
  events: ServiceEvent[]
  /** Drains with limits that are far away unless given; resolves with how long it took, in real milliseconds. */
  drain(limits?: Limits): Promise<number>
  /** The first event of a type, told already or to come. */
  event<T extends ServiceEvent['type']>(type: T): Promise<Extract<ServiceEvent, { type: T }>>
}

/** Serves `handler` on 127.0.0.1. */
export async function serving(
  handler: HttpServerOptions['handler'],
  options: Omit<HttpServerOptions, 'handler' | 'emit'> = {},
): Promise<Serving> {
  const events: ServiceEvent[] = []
  const watchers = new Set<() => void>()
  const emit = (event: ServiceEvent): void => {
    events.push(event)
    for (const watcher of watchers) watcher()
  }
  const server = new HttpServer({ handler, ...options, emit })
  await server.listen(await bind({ host: '127.0.0.1', port: 0 }))
  const { port } = server.address as AddressInfo
  const world = options.world ?? realWorld
  return {
    server,
    port,
    events,
    drain: (limits = {}) => timed(() => server.drain(drainLimits(limits, world))),
    event: (type) => within(8_000, firstOf(type, events, watchers), `the event ${type}`),
    [Symbol.asyncDispose]: () => server.close(),
  }
}

/** Drain limits from milliseconds. */
export function drainLimits(limits: Limits = {}, world = realWorld): DrainLimits {
  const t1 = limits.t1 ?? 20_000
  const t2 = limits.t2 ?? t1 + 1_000
  return {
    t1: Deadline.in(t1, world),
    t2: Deadline.in(t2, world),
    cleanup: Deadline.in(limits.cleanup ?? t2 + 2_500, world),
    idle: limits.idle ?? 1_000,
    force: limits.force ?? new AbortController().signal,
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now()
  await within(10_000, work(), 'the drain')
  return performance.now() - began
}

async function firstOf<T extends ServiceEvent['type']>(
  type: T,
  events: readonly ServiceEvent[],
  watchers: Set<() => void>,
): Promise<Extract<ServiceEvent, { type: T }>> {
  for (;;) {
    const found = events.find((event) => event.type === type)
    if (found) return found as Extract<ServiceEvent, { type: T }>
    await new Promise<void>((resolve) => watchers.add(resolve))
  }
}

import type { Context, MiddlewareHandler } from 'hono'
import { milliseconds, type Duration } from '../../base/deadline.ts'
import { describe, StewardError } from '../../base/errors.ts'
import type { SseEvent } from '../../http/event-stream.ts'
import type { Fitting, Resources, Values } from '../../scope/resource.ts'
import { markInjected } from '../../service/injected.ts'
import { heedsStop, refuseHandlerScoped } from '../../service/sockets.ts'
import { beginStream, type SseContext } from '../../service/streams.ts'
import { noService, PlanFor, type Visit } from '../../service/visit.ts'
import { visitOf } from './visits.ts'

/** An async generator of events: what it yields is sent, what stands in its `finally` runs whoever ends it. */
export type SseHandler<Wanted> = (
  values: Values<Wanted>,
  c: Context,
  stream: SseContext,
) => AsyncGenerator<SseEvent | string, unknown, undefined>

/** How a stream is kept. */
export interface SseOptions {
  /** How often a comment is sent when nothing else is, so that no proxy takes the stream for dead. @default '15s' */
  keepAlive?: Duration
}

/**
 * A route of server-sent events: one async generator for each client. When the service stops, the client gets a last event
 * (`event: shutdown`, with a `retry` between 1 and 5 s) and the last chunk; the generator's `finally` is waited for, and has its
 * resources. The client's leaving aborts `signal`, and ends the generator likewise.
 *
 * What is injected is open until the generator has ended. Nothing of the handler's scope is among it: a stream lasts for hours.
 *
 * @throws `ERR_BAD_OPTION`, `ERR_CAPTIVE`; when a request comes, an opener's own error as it is, `ERR_NO_SERVICE` where no service runs
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { perApp } from 'steward'
 * import { sse } from 'steward/hono'
 *
 * const prices = perApp(() => ({ after: async (id: string, _: AbortSignal) => ({ id: `${id}1`, price: 7 }) }))
 * export const app = new Hono().get(
 *   '/prices',
 *   sse({ prices }, async function* ({ prices }, _c, { lastEventId, signal }) {
 *     for (let id = lastEventId; ; ) {
 *       const next = await prices.after(id, signal)
 *       yield { event: 'price', data: next, id: (id = next.id) }
 *     }
 *   }),
 * )
 * ```
 */
export function sse<const Wanted extends Resources>(
  wanted: Wanted &
    Fitting<Wanted, 'app' | 'request', 'request' | 'Hono context', 'a stream of events'>,
  handler: SseHandler<Wanted>,
  { keepAlive = '15s' }: SseOptions = {},
): MiddlewareHandler {
  if (typeof wanted !== 'object' || wanted === null) {
    throw badOption(
      `Cannot inject ${describe(wanted)}: pass an object of resources, sse({ pool }, …)`,
    )
  }
  if (typeof handler !== 'function') {
    throw badOption(
      `Cannot stream from ${describe(handler)}: pass the handler, sse({ … }, async function* ({ … }) { … })`,
    )
  }
  refuseHandlerScoped(wanted)
  const plans = new PlanFor(wanted)
  const setting = { keepAlive: milliseconds(keepAlive, 'keepAlive'), heedsStop: heedsStop(wanted) }
  const middleware: MiddlewareHandler = async (c) => {
    const visit = visitOf(c)
    if (!visit) throw noService('serve it, or ask it by running.fetch(path)')
    const values = (await valuesFor(visit, plans, c)) as Values<Wanted>
    // Nobody reads the answer to HEAD: nothing may begin that waits for it
    if (c.req.method === 'HEAD') return c.body(null, 200, HEADERS)
    const source = (stream: SseContext): ReturnType<SseHandler<Wanted>> =>
      iterating(handler(values, c, stream))
    return c.body(beginStream(visit, { source, ...setting }), 200, HEADERS)
  }
  return markInjected(middleware, wanted)
}

const HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache',
  // nginx would keep the events back
  'X-Accel-Buffering': 'no',
}

/** @throws an opener's own error */
async function valuesFor(visit: Visit, plans: PlanFor, c: Context): Promise<object> {
  visit.context ??= c
  const plan = plans.in(visit.host.app)
  try {
    const opening = visit.open(plan)
    if (opening) await opening
  } catch (error) {
    throw visit.ownError(error, plan)
  }
  return visit.scopeFor(plan).pick(plan)
}

function iterating<Source>(found: Source): Source {
  if (typeof (found as { next?: unknown } | null)?.next === 'function') return found
  throw badOption(
    `Cannot stream: the handler gave ${describe(found)}, write it as async function* ({ … }) { yield … }`,
  )
}

function badOption(message: string): StewardError {
  return new StewardError('ERR_BAD_OPTION', message)
}

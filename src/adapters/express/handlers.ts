import { tracingChannel } from 'node:diagnostics_channel'
import type { Request } from 'express'
import type { Visit } from '../../service/visit.ts'

// Properties and not WeakMaps: a collector looks through those again and again when every request is in them
const FOLLOWED = Symbol('steward.followed')
const OUT = Symbol('steward.out')

/** A request that a middleware of ours is before has its visit. */
interface Followed {
  [FOLLOWED]?: Visit
}

/** What Express tells of each call of a middleware or handler, the same object from its start to its end. */
interface Call {
  readonly req: Request & Followed
  readonly handler: unknown
  error?: unknown
  /** It is out. */
  [OUT]?: Visit | undefined
}

let isSubscribed = false

/**
 * From now on the handlers of routes that this request comes to are out until they have settled, and what any of them fails
 * with is told. Express publishes that since 5.3 (`express.router.request`); with an older one, nothing is known of it.
 */
export function followHandlers(request: Request, visit: Visit): void {
  ;(request as Followed)[FOLLOWED] = visit
  if (isSubscribed) return
  isSubscribed = true
  // For as long as the process runs: it holds nothing, and looks at requests of ours only
  tracingChannel<Call>('express.router.request').subscribe({
    start: begins,
    end: endsAtOnce,
    asyncStart: ignore,
    asyncEnd: ends,
    error: fails,
  })
}

function begins(call: Call): void {
  const visit = call.req[FOLLOWED]
  if (!visit || !isOfRoute(call)) return
  call[OUT] = visit
  visit.handlerBegins()
}

/** A middleware may wait for the end of a response that waits for it; only handlers are waited for. */
function isOfRoute({ req, handler }: Call): boolean {
  const { route } = req as { route?: { readonly stack: readonly { handle: unknown }[] } }
  return route?.stack.some(({ handle }) => handle === handler) ?? false
}

/** One that gives a promise has neither a result nor an error yet. */
function endsAtOnce(call: Call): void {
  if ('result' in call || 'error' in call) ends(call)
}

function ends(call: Call): void {
  const visit = call[OUT]
  if (!visit) return
  call[OUT] = undefined
  visit.handlerEnds()
}

/** Before the error handlers are called. */
function fails({ req, error }: Call): void {
  req[FOLLOWED]?.fail(error)
}

function ignore(): void {}

import type { Context } from 'hono'
import { Visit } from '../../service/visit.ts'

const visits = new WeakMap<Request, Visit>()

/** The visit that came with the request: over HTTP and by `running.fetch` it is the execution context. */
export function visitOf(c: Context): Visit | undefined {
  const execution = executionOf(c)
  return execution instanceof Visit ? execution : visits.get(c.req.raw)
}

/** One that did not come with it. */
export function keepVisit(c: Context, visit: Visit): void {
  visits.set(c.req.raw, visit)
}

function executionOf(c: Context): unknown {
  try {
    return c.executionCtx
  } catch {
    return undefined // there is none: app.request() without a fourth argument
  }
}

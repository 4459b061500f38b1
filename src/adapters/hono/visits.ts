import type { Context } from 'hono'
import { Visit, wrongDoor } from '../../service/visit.ts'

const visits = new WeakMap<Request, Visit>()

/** The visit that came with the request: over HTTP and by `running.fetch` it is the execution context. @throws `ERR_BAD_OPTION` for what is no context of Hono's */
export function visitOf(c: Context): Visit | undefined {
  const execution = executionOf(c)
  if (execution instanceof Visit) return execution
  if (!c.req?.raw) throw wrongDoor('Hono', c)
  return visits.get(c.req.raw)
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

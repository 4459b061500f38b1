import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, StewardError } from '../base/errors.ts'
import { holdResponse, type Held } from '../http/hold.ts'
import type { Plan } from '../scope/graph.ts'
import { handlerKind, requestKind } from '../scope/kind.ts'
import { input } from '../scope/builtin.ts'
import type { Fitting, Resource, Resources, Values } from '../scope/resource.ts'
import type { Scope } from '../scope/scope.ts'
import { visitOf } from '../service/answering.ts'
import { markInjected } from '../service/injected.ts'
import { answerError } from '../service/thrown.ts'
import { noService, PlanFor, type Visit } from '../service/visit.ts'

/** Node's response, as a resource. */
export const response: Resource<ServerResponse, 'request', 'Node response'> = input(
  requestKind,
  'response',
)

/** A handler for a bare Node listener, with its resources. */
export type NodeHandler<Wanted> = (
  request: IncomingMessage,
  response: ServerResponse,
  values: Values<Wanted>,
) => unknown

/**
 * A Node listener that opens resources for the request and hands their values to the handler. While a resource of the
 * handler is open, a response that is written in one piece (up to 1 MiB) is held until it has closed, so that a failing
 * commit is the client's 500; a handler that streams is told to use `perRequest`.
 *
 * An error that says how it is to be answered (`getResponse` as those of `param` and Hono, `status` as those of
 * http-errors) is answered so, whoever threw it; any other is a 500.
 *
 * @throws when a request comes, `ERR_NO_SERVICE` where no service runs; into the handler, `ERR_HANDLER_STREAMS`
 * @example
 * ```ts
 * import { perApp, service } from 'steward'
 * import { inject } from 'steward/node'
 *
 * const greeting = perApp(() => 'hello')
 * export default service({ app: inject({ greeting }, (_request, response, { greeting }) => response.end(greeting)) })
 * ```
 */
export function inject<const Wanted extends Resources>(
  wanted: Wanted &
    Fitting<Wanted, 'app' | 'request' | 'handler', 'request' | 'Node response', 'a Node handler'>,
  handler: NodeHandler<Wanted>,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  if (typeof handler !== 'function') {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot inject into ${describe(handler)}: pass the handler, inject({ … }, (request, response, { … }) => …)`,
    )
  }
  const plans = new PlanFor(wanted)
  const listener = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const visit = visitOf(request)
    if (!visit) throw noService('put the listener into service({ app })')
    visit.response ??= response
    const plan = plans.in(visit.host.app)
    const handle: Handle = (values) => handler(request, response, values as Values<Wanted>)
    try {
      // The outermost one begins the handler's scope and ends it
      if (plan.kind !== handlerKind || visit.handlerScope) await inScope({ visit, plan, handle })
      else await inHandlerScope({ visit, plan, handle, response })
    } catch (error) {
      await answerError(error, visit, response)
    }
  }
  return markInjected(listener, wanted)
}

type Handle = (values: Record<string, unknown>) => unknown

interface Injecting {
  readonly visit: Visit
  readonly plan: Plan
  readonly handle: Handle
}

async function inScope({ visit, plan, handle }: Injecting): Promise<void> {
  try {
    const opening = visit.open(plan)
    if (opening) await opening
  } catch (error) {
    throw visit.ownError(error, plan)
  }
  await handle(visit.scopeFor(plan).pick(plan))
}

async function inHandlerScope(
  injecting: Injecting & { readonly response: ServerResponse },
): Promise<void> {
  const { visit, plan, response } = injecting
  const scope = visit.enterHandler()
  const held = holdResponse(response, () => streams(plan))
  try {
    await inScope(injecting)
  } catch (error) {
    await visit.endFailed(scope, { ok: false, error })
    held.discard()
    throw error
  }
  visit.leaveHandler()
  await endAndRelease(visit, scope, held)
}

async function endAndRelease(visit: Visit, scope: Scope, held: Held): Promise<void> {
  const status = held.status()
  const known = status === undefined ? {} : { status }
  // A client that was told 503 in the handler's place must not find its work done
  const { refused } = visit.transport
  if (refused) return visit.endFailed(scope, { ok: false, status: 503, error: refused })
  if (status !== undefined && status >= 400) {
    await visit.endFailed(scope, { ok: false, ...known })
    return held.release()
  }
  visit.transport.committing = true
  try {
    await scope.end({ ok: true, ...known })
    held.release()
  } catch (error) {
    held.discard()
    throw error
  } finally {
    visit.transport.committing = false
  }
}

function streams(plan: Plan): StewardError {
  const names = plan.steps
    .filter((step) => step.kind === handlerKind)
    .map((step) => `"${step.name}"`)
  return new StewardError(
    'ERR_HANDLER_STREAMS',
    `Cannot stream while ${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} open: it closes before the response leaves; use perRequest for what a stream needs, or answer in one piece of at most 1 MiB`,
  )
}

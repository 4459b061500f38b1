import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, StewardError } from '../base/errors.ts'
import { requestKind } from '../scope/kind.ts'
import { input } from '../scope/builtin.ts'
import type { Fitting, Resource, Resources, Values } from '../scope/resource.ts'
import { visitOf } from '../service/answering.ts'
import { handleInScope, keepResponse } from '../service/handler-scope.ts'
import { markInjected } from '../service/injected.ts'
import { answerError } from '../service/thrown.ts'
import { noService, PlanFor, wrongDoor } from '../service/visit.ts'

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
    if (!request?.rawHeaders) throw wrongDoor('bare Node listeners', request)
    const visit = visitOf(request)
    if (!visit) throw noService('put the listener into service({ app })')
    visit.response ??= response
    const handle = (values: object): unknown => handler(request, response, values as Values<Wanted>)
    const injecting = { visit, plan: plans.in(visit.host.app), handle }
    try {
      await handleInScope(injecting, keepResponse(response))
    } catch (error) {
      await answerError(error, visit, response)
    }
  }
  return markInjected(listener, wanted)
}

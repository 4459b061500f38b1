import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { finalize, lastValueFrom, of, type Observable } from 'rxjs'
import { StewardError } from '../base/errors.ts'
import { holdResponse } from '../http/hold.ts'
import type { Plan } from '../scope/graph.ts'
import { handlerKind } from '../scope/kind.ts'
import type { Fitting, Resources, Values } from '../scope/resource.ts'
import { visitOf } from '../service/answering.ts'
import {
  handleInScope, openIn, refuseStream, streamsError, type Keep,
} from '../service/handler-scope.ts' // oxfmt-ignore
import { markInjected } from '../service/injected.ts'
import { Taking } from '../service/taking.ts'
import type { Routed } from '../service/request.ts'
import { noService, PlanFor, type Visit } from '../service/visit.ts'
import { resetHeaders, type Headed } from '../service/written.ts'

/** Express's request, or Fastify's, which has Node's in it. */
interface AnyRequest {
  readonly raw?: object
}

/** An interceptor, for `@UseInterceptors` or the whole app, that opens resources for the methods behind it. */
export interface NestInjection<Wanted> extends NestInterceptor {
  /** The values, in a method behind it: of what `@Req()` gives. @throws `ERR_NOT_INJECTED` */
  of(request: object): Values<Wanted>
}

/**
 * An interceptor whose methods take the resources with `of`, on Express and on Fastify. Resources of the handler close when
 * the method's result is there, before Nest answers: a failing commit is thrown to its exception filters.
 *
 * @throws when a request comes, into Nest: an opener's own error as it is, `ERR_NO_SERVICE` where no service runs,
 * `ERR_HANDLER_STREAMS` for `@Sse()` and streams while resources of the handler are open
 * @example
 * ```ts
 * import { perApp } from 'steward'
 * import { inject } from 'steward/nest'
 *
 * const greeting = perApp(() => 'hello')
 * const deps = inject({ greeting })
 * // @UseInterceptors(deps) @Get() greet(@Req() request: object) { return deps.of(request).greeting }
 * export const greet = (request: object): string => deps.of(request).greeting
 * ```
 */
export function inject<const Wanted extends Resources>(
  wanted: Wanted &
    Fitting<Wanted, 'app' | 'request' | 'handler', 'request' | 'Node response', 'a Nest method'>,
): NestInjection<Wanted> {
  return markInjected(new Interceptor<Wanted>(wanted), wanted)
}

class Interceptor<Wanted extends Resources> implements NestInjection<Wanted> {
  readonly #plans: PlanFor
  readonly #taking: Taking<Values<Wanted>>

  constructor(wanted: Wanted) {
    this.#plans = new PlanFor(wanted)
    this.#taking = new Taking(wanted, 'put @UseInterceptors(deps) on its method or controller')
  }

  of(request: AnyRequest): Values<Wanted> {
    return this.#taking.of(request.raw ?? request)
  }

  async intercept(context: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
    const { request, response, visit } = visitFor(context)
    const plan = this.#plans.in(visit.host.app)
    const keep = (values: object): void => this.#taking.keep(request, values as Values<Wanted>)
    if (isSse(context)) return this.#stream({ visit, plan, keep }, next)
    const handle = async (values: object): Promise<unknown> => {
      keep(values)
      const result: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined })
      if (plan.kind === handlerKind) refuseFile(result, plan)
      return result
    }
    return of(await handleInScope({ visit, plan, handle }, keepResponse(response)))
  }

  /** The method is out until its events have come to their end. */
  async #stream({ visit, plan, keep }: Streaming, next: CallHandler): Promise<Observable<unknown>> {
    if (plan.kind === handlerKind) throw streamsError(plan)
    await openIn(visit, plan)
    keep(visit.scopeFor(plan).pick(plan))
    visit.handlerBegins()
    return next.handle().pipe(finalize(() => visit.handlerEnds()))
  }
}

interface Streaming {
  readonly visit: Visit
  readonly plan: Plan
  keep(values: object): void
}

interface Visited {
  readonly request: IncomingMessage
  readonly response: AnyResponse
  readonly visit: Visit
}

/** Express's response, or Fastify's reply, which has Node's in it. */
type AnyResponse = ServerResponse | (Headed & { readonly raw: ServerResponse })

function visitFor(context: ExecutionContext): Visited {
  if (context.getType() !== 'http') throw noRequest(context.getType())
  const http = context.switchToHttp()
  const given = http.getRequest<IncomingMessage & { raw?: IncomingMessage }>()
  const response = http.getResponse<AnyResponse>()
  const request = given.raw ?? given
  const visit = visitOf(request)
  if (!visit) throw noService('give the Nest app itself to service({ app })')
  visit.routed = given as unknown as Routed
  visit.response ??= 'raw' in response ? response.raw : response
  return { request, response, visit }
}

/** Methods that write by themselves, with `@Res()`, are held; the others answer when the interceptors have returned. */
function keepResponse(response: AnyResponse): Keep {
  const reply = 'raw' in response ? response : undefined
  const raw = 'raw' in response ? response.raw : response
  return (streams) => {
    const headers = reply?.getHeaders() ?? {}
    const held = holdResponse(raw, streams)
    return {
      // Nest has put the status there before
      status: () => held.status() ?? raw.statusCode,
      returned: () => held.returned(),
      release: () => held.release(),
      discard: () => {
        held.discard()
        if (reply) resetHeaders(reply, headers)
      },
    }
  }
}

/** A stream, or Nest's `StreamableFile` of one. */
function refuseFile(result: unknown, plan: Plan): void {
  const { getStream } = (result ?? {}) as { getStream?: () => unknown }
  refuseStream(typeof getStream === 'function' ? getStream.call(result) : result, plan)
}

function isSse(context: ExecutionContext): boolean {
  const { getMetadata } = Reflect as { getMetadata?: (key: string, target: object) => unknown }
  return getMetadata?.('__sse__', context.getHandler()) === true
}

function noRequest(type: string): StewardError {
  return new StewardError(
    'ERR_NEEDS',
    `Cannot inject into a ${type} handler of Nest: there is no HTTP request; hand what it needs to its provider, from the resource that makes the app`,
  )
}

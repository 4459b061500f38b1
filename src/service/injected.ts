import { describe, StewardError } from '../base/errors.ts'
import { definitionOf, type Resources } from '../scope/resource.ts'
import { isServerApp, type ServiceDefinition } from './service.ts'

const INJECTED = Symbol.for('steward.injected')
const TOLD = Symbol.for('steward.told')

/** Marks a handler or middleware with what it injects, so that a start can find it in the route table. @throws `ERR_BAD_OPTION` */
export function markInjected<Target extends object>(target: Target, wanted: Resources): Target {
  if (typeof wanted !== 'object' || wanted === null || definitionOf(wanted)) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot inject ${describe(wanted)}: pass an object of resources, inject({ pool })`,
    )
  }
  return Object.defineProperty(target, INJECTED, { value: wanted })
}

/** What a handler that was marked injects, or what a framework has wrapped it in. */
export function marksOf(handler: unknown): Resources[] {
  const found: Resources[] = []
  for (let inner = handler; inner; inner = composedFrom(inner)) {
    const wanted = (inner as { [INJECTED]?: Resources })[INJECTED]
    if (wanted) found.push(wanted)
  }
  return found
}

/** All that a service wants, as far as can be seen without opening anything: of an app that is a resource, not what its routes inject. */
export function wantedBy({ app, resources, everyRequest = {} }: ServiceDefinition): Resources[] {
  const first = definitionOf(app) ? [{ app } as Resources] : injectedBy(app)
  return [resources, everyRequest, ...first]
}

/**
 * What the routes of an app inject: those of Hono and its like, whose `routes` name each handler, through sub-apps with an
 * error handler of their own too; those of Express and Koa, through their routers; what a door has told of already; and a marked
 * listener itself, also as that of a server. What cannot be seen opens at first use.
 */
export function injectedBy(app: unknown): Resources[] {
  if (isServerApp(app)) return app.listeners('request').flatMap(injectedBy)
  const { server } = (app ?? {}) as { server?: unknown }
  const told = typeof server === 'object' && server !== null ? injectedInto(server) : []
  return [...[app, ...handlersOf(app)].flatMap(marksOf), ...told]
}

/** A framework's door tells here what it finds in routes, on an object that its whole app shares. */
export function tellInjected(carrier: object, handlers: readonly unknown[]): void {
  const told = ((carrier as { [TOLD]?: unknown[] })[TOLD] ??= [])
  told.push(...handlers)
}

/** Has a door told anything of this app? */
export function hasTold(carrier: object): boolean {
  return TOLD in carrier
}

/** What the routes inject that a door has told of on this object. */
export function injectedInto(carrier: object): Resources[] {
  return ((carrier as { [TOLD]?: unknown[] })[TOLD] ?? []).flatMap(marksOf)
}

function handlersOf(app: unknown): unknown[] {
  const { routes, middleware } = (app ?? {}) as { routes?: unknown; middleware?: unknown }
  if (Array.isArray(routes)) return routes.map((route: { handler?: unknown }) => route.handler)
  if (Array.isArray(middleware)) return middleware.flatMap(throughKoa)
  return typeof app === 'function' ? throughExpress(routerOf(app)) : []
}

/** Hono wraps the handlers of a sub-app that has its own error handler, and keeps the handler under this name. */
function composedFrom(handler: unknown): unknown {
  return (handler as { __COMPOSED_HANDLER?: unknown }).__COMPOSED_HANDLER
}

/** A layer of a router, of Express or of Koa: a middleware, a route with its own, or a router. */
interface Layer {
  readonly handle?: unknown
  readonly route?: Stacked
  readonly stack?: readonly unknown[]
}

interface Stacked {
  readonly stack?: readonly Layer[]
}

/** Express 4 has a getter where Express 5 has its router: it throws. */
function routerOf(app: object): unknown {
  const { _router } = app as { _router?: unknown }
  if (_router !== undefined) return _router
  try {
    return (app as { router?: unknown }).router
  } catch {
    return undefined
  }
}

function throughExpress(router: unknown): unknown[] {
  const { stack } = (router ?? {}) as Stacked
  if (!Array.isArray(stack)) return []
  return stack.flatMap(({ handle, route }: Layer) => [
    handle,
    ...throughExpress(route),
    ...throughExpress(handle),
  ])
}

/** A router of Koa's is a middleware that carries its router. */
function throughKoa(middleware: unknown): unknown[] {
  const { router } = (middleware ?? {}) as { router?: Stacked }
  const layers = Array.isArray(router?.stack) ? router.stack : []
  return [middleware, ...layers.flatMap(({ stack }: Layer) => stack ?? [])]
}

import { definitionOf, type Resources } from '../scope/resource.ts'
import type { ServiceDefinition } from './service.ts'

const INJECTED = Symbol.for('steward.injected')

/** Marks a handler or middleware with what it injects, so that a start can find it in the route table. */
export function markInjected<Target extends object>(target: Target, wanted: Resources): Target {
  return Object.defineProperty(target, INJECTED, { value: wanted })
}

/**
 * What the routes of an app inject: those of Hono and its like, whose `routes` name each handler, through sub-apps with an
 * error handler of their own too; and a marked listener itself. What cannot be seen opens at first use.
 */
export function injectedBy(app: unknown): Resources[] {
  const found: Resources[] = []
  for (const handler of [app, ...handlersOf(app)]) {
    for (let inner = handler; inner; inner = composedFrom(inner)) {
      const wanted = (inner as { [INJECTED]?: Resources })[INJECTED]
      if (wanted) found.push(wanted)
    }
  }
  return found
}

/** All that a service wants, as far as can be seen without opening anything: of an app that is a resource, not what its routes inject. */
export function wantedBy({ app, resources, everyRequest = {} }: ServiceDefinition): Resources[] {
  const first = definitionOf(app) ? [{ app } as Resources] : injectedBy(app)
  return [resources, everyRequest, ...first]
}

function handlersOf(app: unknown): unknown[] {
  const { routes } = (app ?? {}) as { routes?: unknown }
  return Array.isArray(routes) ? routes.map((route: { handler?: unknown }) => route.handler) : []
}

/** Hono wraps the handlers of a sub-app that has its own error handler, and keeps the handler under this name. */
function composedFrom(handler: unknown): unknown {
  return (handler as { __COMPOSED_HANDLER?: unknown }).__COMPOSED_HANDLER
}

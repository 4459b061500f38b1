import type { Server } from 'node:http'
import { StewardError } from '../base/errors.ts'
import { appKind } from '../scope/kind.ts'
import { define, type AnyResource, type Resources } from '../scope/resource.ts'
import type { BoundHook } from './hooks.ts'
import { hasTold, injectedBy, injectedInto } from './injected.ts'
import { openNest } from './nest.ts'
import {
  isFastifyApp, isKoaApp, isNestApp, isServerApp, type FastifyApp, type FetchApp, type NodeListener, type ServedApp,
} from './service.ts' // oxfmt-ignore

/** An app as a service runs it, whatever framework it was made with. */
export interface Adopted {
  /** What answers. */
  readonly app: FetchApp | NodeListener
  /** What its routes inject, as far as that can be seen. */
  readonly injected: readonly Resources[]
  /** The app's or its framework's own server, which never listens: whoever takes upgrades listens to that one. */
  readonly server?: Server | undefined
  /** What to do where a resource was found too late, if its routes could not be looked at. */
  readonly advice?: string | undefined
  /** What the framework is told at the first moment of the stop. */
  readonly onShutdown?: BoundHook | undefined
}

/** An app without a life of its own, as a service runs it. */
export function adopt(served: ServedApp): Adopted {
  const injected = injectedBy(served)
  if (isServerApp(served)) {
    const app: NodeListener = (request, response) => void served.emit('request', request, response)
    return { app, injected, server: served }
  }
  const app = isKoaApp(served) ? served.callback() : (served as FetchApp | NodeListener)
  return { app, injected }
}

/**
 * The resource of an app that has a life of its own: open before what its routes inject, closed before what the app stands
 * on. Gives what was adopted. `undefined` for an app that only answers.
 */
export function frameworkOf(served: ServedApp, deps: Resources): AnyResource | undefined {
  if (isNestApp(served)) return framework('NestJS', served, () => openNest(served))
  if (isFastifyApp(served)) return framework('Fastify', served, () => openFastify(served))
  return undefined

  function framework(name: string, app: object, open: () => AsyncGenerator<Adopted>): AnyResource {
    return define(appKind, { deps, open: () => openOnce(name, app, open), options: { name } })
  }
}

/** Apps that a service runs, or that have been closed: these cannot be served (again). */
const taken = new WeakMap<object, 'running' | 'closed'>()

async function* openOnce(
  name: string,
  app: object,
  open: () => AsyncGenerator<Adopted>,
): AsyncGenerator<Adopted> {
  const state = taken.get(app)
  if (state) throw appTaken(name, state)
  taken.set(app, 'running')
  try {
    yield* open()
  } finally {
    taken.set(app, 'closed')
  }
}

async function* openFastify(app: FastifyApp): AsyncGenerator<Adopted> {
  try {
    await app.ready()
    yield {
      app: (request, response) => app.routing(request, response),
      injected: injectedInto(app.server),
      server: app.server,
      advice: hasTold(app.server) ? undefined : REGISTER,
    }
  } finally {
    await app.close()
  }
}

const REGISTER =
  'register the plugin of steward/fastify before the routes, await app.register(steward); or'

function appTaken(name: string, state: 'running' | 'closed'): StewardError {
  const found = state === 'closed' ? 'it has been closed' : 'another service runs it'
  return new StewardError(
    'ERR_APP_NOT_USABLE',
    `Cannot serve the ${name} app: ${found}, and such an app runs once; make it by a resource, service({ app: perApp(() => createApp()) })`,
  )
}

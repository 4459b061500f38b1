import type { Server } from 'node:http'
import { StewardError } from '../base/errors.ts'
import { appKind } from '../scope/kind.ts'
import { define, type AnyResource, type Resources } from '../scope/resource.ts'
import type { BoundHook } from './hooks.ts'
import { hasTold, injectedBy, injectedInto } from './injected.ts'
import { NestLife } from './nest.ts'
import {
  isFastifyApp, isKoaApp, isNestApp, isServerApp, listenerOf, type FastifyApp, type FetchApp, type NodeListener, type ServedApp,
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

/** How an app of a framework begins, and how it ends. */
export interface Life {
  /** The framework's. */
  readonly name: string
  open(): Promise<Adopted>
  /** Ends it, also one whose beginning has failed. */
  close(): PromiseLike<unknown>
}

/** An app without a life of its own, as a service runs it. */
export function adopt(served: ServedApp): Adopted {
  const injected = injectedBy(served)
  if (isServerApp(served)) return { app: listenerOf(served), injected, server: served }
  const app = isKoaApp(served) ? served.callback() : (served as FetchApp | NodeListener)
  return { app, injected }
}

/**
 * The resource of an app that has a life of its own: open before what its routes inject, closed before what the app stands
 * on. Gives what was adopted. `undefined` for an app that only answers.
 */
export function frameworkOf(served: ServedApp, deps: Resources): AnyResource | undefined {
  const life = isNestApp(served)
    ? new NestLife(served)
    : isFastifyApp(served)
      ? new FastifyLife(served)
      : undefined
  if (!life) return undefined
  const { name } = life
  const held = define(appKind, {
    deps,
    open: () => holdOnce(served, life),
    options: { name: `${name} app` },
  })
  return define(appKind, { deps: { held }, open: () => life.open(), options: { name } })
}

/** Apps that a service runs, or that have been closed: these cannot be served (again). */
const taken = new WeakMap<object, 'running' | 'closed'>()

/** It is held before it is opened, so that one which does not come to that is closed like any other. */
async function* holdOnce(app: object, life: Life): AsyncGenerator<void> {
  const state = taken.get(app)
  if (state) throw appTaken(life.name, state)
  taken.set(app, 'running')
  yield
  taken.set(app, 'closed')
  await life.close()
}

class FastifyLife implements Life {
  readonly name = 'Fastify'
  readonly #app: FastifyApp

  constructor(app: FastifyApp) {
    this.#app = app
  }

  async open(): Promise<Adopted> {
    const app = this.#app
    await app.ready()
    const { server } = app
    return {
      // A server that the app has made by itself may be of another kind
      app: server.listenerCount('request') > 0 ? listenerOf(server) : app.routing.bind(app),
      injected: injectedInto(server),
      server,
      advice: hasTold(server) ? undefined : REGISTER,
    }
  }

  close(): PromiseLike<unknown> {
    return this.#app.close()
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

import type { Server } from 'node:http'
import { StewardError } from '../base/errors.ts'
import type { Resources } from '../scope/resource.ts'
import type { Adopted, Life } from './framework.ts'
import { marksOf } from './injected.ts'
import { isFastifyApp, listenerOf, type NestApp } from './service.ts'

/**
 * What Nest's own `close` consists of, each part of which has its place in our stop. Protected in its types, there in its
 * objects; where one is not, `close` is called as a whole.
 */
interface NestParts extends NestApp {
  callDestroyHook?(): Promise<void>
  callBeforeShutdownHook?(signal?: string): Promise<void>
  callShutdownHook?(signal?: string): Promise<void>
  dispose?(): Promise<void>
  unsubscribeFromProcessSignals?(): void
  enableShutdownHooks?(): this
  readonly container?: { getModules?(): Map<unknown, NestModule> }
  readonly config?: { getGlobalInterceptors?(): unknown[] }
}

interface NestModule {
  readonly controllers: Map<unknown, { readonly metatype?: unknown }>
}

/**
 * Its start: `onModuleInit` and `onApplicationBootstrap` run. Its stop: `beforeApplicationShutdown` runs while every
 * connection is open; when traffic is over, `onModuleDestroy`, then its gateways and microservices close, then
 * `onApplicationShutdown`. What is torn down in `onModuleDestroy`, as most do, is there for the last request.
 *
 * A start that fails, in `onModuleInit` say, is undone by the same hooks, in Nest's own order.
 */
export class NestLife implements Life {
  readonly name = 'NestJS'
  readonly #nest: NestParts
  /** Has `beforeApplicationShutdown` been run, or begun to? */
  #isTold = false

  constructor(app: NestApp) {
    this.#nest = app
  }

  async open(): Promise<Adopted> {
    const nest = this.#nest
    keepFromSignals(nest)
    await nest.init()
    const instance: unknown = nest.getHttpAdapter().getInstance()
    if (isFastifyApp(instance)) await instance.ready()
    const server = nest.getHttpServer() as Server
    return {
      app: listenerOf(server),
      injected: injectedInto(nest),
      server,
      onShutdown: { name: 'beforeApplicationShutdown', run: () => this.#tell() },
    }
  }

  /** Each part runs whatever became of those before. @throws what one has failed with; `ERR_CLOSE` for several */
  async close(): Promise<void> {
    const nest = this.#nest
    if (!nest.callDestroyHook || !nest.dispose || !nest.callShutdownHook) return nest.close()
    const parts: (() => unknown)[] = [
      () => nest.callDestroyHook!(),
      () => this.#isTold || this.#tell(),
      () => nest.dispose!(),
      () => nest.callShutdownHook!(),
    ]
    const errors: unknown[] = []
    for (const part of parts) {
      try {
        await part()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw partsFailed(errors)
  }

  #tell(): unknown {
    this.#isTold = true
    return this.#nest.callBeforeShutdownHook?.()
  }
}

/** Its own listeners would close everything at the signal, and send it a second time; from now on it adds none. */
function keepFromSignals(nest: NestParts): void {
  nest.unsubscribeFromProcessSignals?.()
  nest.enableShutdownHooks = () => nest
}

function partsFailed(errors: readonly unknown[]): unknown {
  if (errors.length === 1) return errors[0]
  return new StewardError(
    'ERR_CLOSE',
    `Cannot close the NestJS app cleanly: ${errors.length} of its hooks failed; each is in "errors"`,
    { errors, cause: errors[0] },
  )
}

/** The key under which `@UseInterceptors` leaves what it was given. */
const INTERCEPTORS = '__interceptors__'

/** What the interceptors of its controllers, of their methods and of the whole app inject. */
function injectedInto(nest: NestParts): Resources[] {
  const found: unknown[] = [...(nest.config?.getGlobalInterceptors?.() ?? [])]
  for (const { controllers } of nest.container?.getModules?.().values() ?? []) {
    for (const { metatype } of controllers.values()) found.push(...interceptorsOf(metatype))
  }
  return found.flatMap(marksOf)
}

function interceptorsOf(controller: unknown): unknown[] {
  if (typeof controller !== 'function') return []
  const prototype = (controller.prototype ?? {}) as object
  const methods = Object.values(Object.getOwnPropertyDescriptors(prototype)).map(
    ({ value }: PropertyDescriptor): unknown => value,
  )
  return [controller, ...methods].flatMap(metadataOf)
}

function metadataOf(target: unknown): unknown[] {
  const { getMetadata } = Reflect as { getMetadata?: (key: string, target: object) => unknown }
  if (typeof target !== 'function' || !getMetadata) return []
  const found = getMetadata(INTERCEPTORS, target)
  return Array.isArray(found) ? found : []
}

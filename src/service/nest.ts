import type { Server } from 'node:http'
import type { Resources } from '../scope/resource.ts'
import type { Adopted } from './framework.ts'
import { marksOf } from './injected.ts'
import { isFastifyApp, type NestApp, type NodeListener } from './service.ts'

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
 */
export async function* openNest(app: NestApp): AsyncGenerator<Adopted> {
  const nest: NestParts = app
  await nest.init()
  // Its own listeners would close everything at the signal, and send it a second time
  nest.unsubscribeFromProcessSignals?.()
  const instance: unknown = nest.getHttpAdapter().getInstance()
  if (isFastifyApp(instance)) await instance.ready()
  yield {
    app: isFastifyApp(instance)
      ? (request, response) => instance.routing(request, response)
      : (instance as NodeListener),
    injected: injectedInto(nest),
    server: nest.getHttpServer() as Server,
    onShutdown: {
      name: 'beforeApplicationShutdown',
      run: () => nest.callBeforeShutdownHook?.(),
    },
  }
  await closeNest(nest)
}

async function closeNest(nest: NestParts): Promise<void> {
  if (!nest.callDestroyHook || !nest.dispose || !nest.callShutdownHook) return nest.close()
  await nest.callDestroyHook()
  await nest.dispose()
  await nest.callShutdownHook()
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

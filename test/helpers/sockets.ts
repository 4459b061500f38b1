import type { Socket } from '../../src/adapters/hono.ts'
import { serve, service } from '../../src/index.ts'
import type { FetchApp, Running, ServeOptions, ServiceOptions } from '../../src/index.ts'
import { portOf } from './services.ts'
import { Told } from './told.ts'

/** A served app, and what it told. */
export async function served(
  app: FetchApp,
  options: Omit<ServiceOptions<{}, {}>, 'app'> = {},
  serving: ServeOptions = {},
): Promise<{ running: Running; port: number; told: Told } & AsyncDisposable> {
  const told = new Told()
  const running = await serve(service({ app, ...options }), {
    port: 0,
    signals: false,
    ...serving,
    on: told.on,
  })
  return {
    running,
    port: portOf(running),
    told,
    [Symbol.asyncDispose]: async () => void (await running.force()),
  }
}

/** Sends back what comes. */
export async function echo(socket: Socket): Promise<void> {
  for await (const message of socket) await socket.send(message)
}

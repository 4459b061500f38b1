import net, { type AddressInfo } from 'node:net'
import { service } from '../../src/index.ts'
import type { FetchApp, Running, ServeOptions, Service } from '../../src/index.ts'
import { RawClient } from './raw-client.ts'
import type { Trace } from './traced.ts'

/** Serves without touching the process, on a free port. */
export const quietly: ServeOptions = { port: 0, signals: false }

export const hello: FetchApp = { fetch: () => new Response('hello') }

/** A service whose every step leaves a line. */
export function traced(trace: Trace, app: FetchApp = hello): Service {
  const db = trace.app('db')
  const pool = trace.app('pool', { db })
  const add = (line: string) => () => trace.add(line)
  return service({
    app,
    resources: { pool },
    onStartup: [add('onStartup 1'), add('onStartup 2')],
    onShutdown: [add('onShutdown 1'), add('onShutdown 2')],
    onDrained: [add('onDrained 1'), add('onDrained 2')],
    async *lifespan() {
      trace.add('lifespan begins')
      yield
      trace.add('lifespan ends')
    },
  })
}

export function portOf(running: Running): number {
  return Number(new URL(running.url).port)
}

/** Is a connection to that port refused? */
export async function refused(port: number): Promise<boolean> {
  return RawClient.connect(port).then(
    (client) => (client.destroy(), false),
    (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
  )
}

export async function busyPort(): Promise<AsyncDisposable & { port: number }> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  return { port, [Symbol.asyncDispose]: async () => void server.close() }
}

/** A port that nobody listens on, apart from those that the system gives to whoever asks for any. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    const server = net.createServer().listen(port, '127.0.0.1')
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('listening', () => resolve(true)).once('error', () => resolve(false))
    })
    server.close()
    if (isFree) return port
  }
}

/** Asks it once, on a connection that does not stay. */
export async function textOf({ url }: Running): Promise<string> {
  return (await fetch(url, { headers: { connection: 'close' } })).text()
}

/** What is waited for in vain. */
export const never: Promise<never> = new Promise<never>(() => {})

export function messagesOf(errors: readonly unknown[]): string[] {
  return errors.map((error) => (error as Error).message)
}

export async function* stuckLifespan(): AsyncGenerator<void, void, void> {
  await never
  yield
}

export async function* stuckAtEnd(): AsyncGenerator<void, void, void> {
  yield
  await never
}

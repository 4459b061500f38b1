import 'reflect-metadata'
import {
  All,
  Catch,
  Controller,
  Module,
  Req,
  Res,
  Sse,
  StreamableFile,
  UseInterceptors,
} from '@nestjs/common'
import type { ArgumentsHost, INestApplication, NestInterceptor, Type } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { inject } from '../../src/adapters/nest.ts'
import { perApp } from '../../src/scope/resource.ts'
import type { ServedApp } from '../../src/service/service.ts'
import type { Answer, Door } from './door.ts'

/** What Nest runs on. */
export const platforms: readonly string[] = ['Express', 'Fastify']

/** A class whose methods answer, and what they are decorated with: a test's own decorators need no compiler. */
export interface Method {
  readonly path: string
  readonly interceptors: readonly NestInterceptor[]
  /** Its result is a stream of events. */
  readonly isSse?: boolean
  handle(request: Incoming, response: Outgoing): unknown
}

export interface Incoming {
  readonly raw?: NodeJS.ReadableStream
}

export interface Outgoing {
  status(code: number): this
  header(name: string, value: string): this
  send(body: unknown): unknown
}

/** What else an app has: providers with lifecycle hooks, which are objects or classes that Nest makes; controllers. */
export interface Parts {
  readonly providers?: readonly object[]
  readonly controllers?: readonly Type[]
}

/** A Nest app of these methods, and of what else it has. */
export async function nestApp(
  platform: string,
  methods: readonly Method[],
  { providers = [], controllers = [] }: Parts = {},
): Promise<INestApplication> {
  class Routes {}
  Controller()(Routes)
  methods.forEach((method, index) => decorate(Routes.prototype, `method${index}`, method))
  class App {}
  const given = providers.map((one, index) =>
    typeof one === 'function' ? (one as Type) : { provide: `provider ${index}`, useValue: one },
  )
  Module({ controllers: [Routes, ...controllers], providers: given })(App)
  const options = { logger: false, bodyParser: false, abortOnError: false } as const
  const app =
    platform === 'Fastify'
      ? await NestFactory.create(App, fastifyAdapter(), options)
      : await NestFactory.create(App, options)
  return app.useGlobalFilters(new Filter())
}

function fastifyAdapter(): FastifyAdapter {
  const adapter = new FastifyAdapter({ exposeHeadRoutes: false })
  const instance = adapter.getInstance()
  instance.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  return adapter
}

function decorate(prototype: object, name: string, method: Method): void {
  const { path, interceptors, handle, isSse } = method
  Object.defineProperty(prototype, name, { value: handle, configurable: true })
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name)!
  Req()(prototype, name, 0)
  // One that is marked writes by itself; the others return what Nest is to answer
  const response = 'writes' in handle ? Res() : Res({ passthrough: true })
  response(prototype, name, 1)
  const answers = isSse ? Sse(path) : All(path)
  answers(prototype, name, descriptor)
  UseInterceptors(...interceptors)(prototype, name, descriptor)
}

/** Nest's own exceptions, and others that say how they are answered. */
interface Answerable {
  getResponse?(): unknown
  getStatus?(): number
}

class Filter {
  async catch(error: unknown, host: ArgumentsHost): Promise<void> {
    const response = host.switchToHttp().getResponse<Outgoing & { raw?: ServerResponse }>()
    const raw = response.raw ?? (response as unknown as ServerResponse)
    if (raw.headersSent) return void raw.destroy()
    const { getResponse, getStatus } = (error ?? {}) as Answerable
    const given = getResponse?.call(error)
    if (!(given instanceof Response)) {
      return void response.status(getStatus?.call(error) ?? 500).send('broken')
    }
    response.status(given.status)
    for (const [name, value] of given.headers) response.header(name, value)
    response.send(await given.text())
  }
}
Catch()(Filter)

/** Routes in a Nest app. */
export function nestDoor(platform: string): Door {
  return {
    name: `steward/nest on ${platform}`,
    app(routes) {
      const methods = Object.entries(routes).map(([path, { wanted, handle }]): Method => {
        const deps = inject(wanted as {})
        return {
          path,
          interceptors: [deps],
          handle: async (request, response) =>
            put(
              response,
              await handle(deps.of(request), {
                text: () => text(request.raw ?? (request as NodeJS.ReadableStream)),
              }),
            ),
        }
      })
      return perApp(() => nestApp(platform, methods)) as unknown as ServedApp
    },
  }
}

function put(response: Outgoing, { status = 200, headers = {}, body = '' }: Answer): unknown {
  response.status(status)
  for (const [name, value] of Object.entries(headers)) response.header(name, value)
  return typeof body === 'string'
    ? body
    : new StreamableFile(Readable.from(body, { objectMode: false }))
}

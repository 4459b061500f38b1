import 'reflect-metadata'
import { All, Controller, Module, Req, Res } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { app as answerBare } from '../node-server.ts'
import type { Place } from '../place.ts'

class Bench {
  answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    return answerBare(request, response)
  }
}

class App {}

/** Decorators are called as functions, since Node does not compile them. */
function decorate(): void {
  const { prototype } = Bench
  Req()(prototype, 'answer', 0)
  Res()(prototype, 'answer', 1)
  All(['', '*path'])(prototype, 'answer', Object.getOwnPropertyDescriptor(prototype, 'answer')!)
  Controller()(Bench)
  Module({ controllers: [Bench] })(App)
}

/** https://docs.nestjs.com/fundamentals/lifecycle-events#application-shutdown: it has no timeout. */
export async function listen({ fd, tls }: Place): Promise<number> {
  decorate()
  const app = await NestFactory.create(App, { logger: false, ...(tls && { httpsOptions: tls }) })
  app.enableShutdownHooks()
  if (fd === undefined) await app.listen(0, '127.0.0.1')
  // Its adapter hands on what it is given; its types know of ports only
  else await app.listen({ fd } as unknown as number)
  return ((app.getHttpServer() as Server).address() as AddressInfo).port
}

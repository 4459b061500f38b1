import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import type { ServedApp } from '../../src/service/service.ts'
import { inject as injectExpress } from '../../src/adapters/express.ts'
import { inject as injectFastify } from '../../src/adapters/fastify.ts'
import { inject as injectHono } from '../../src/adapters/hono.ts'
import { inject as injectKoa } from '../../src/adapters/koa.ts'
import { inject as injectNode } from '../../src/adapters/node.ts'
import { listening } from '../helpers/door.ts'
import { onError } from '../helpers/express-door.ts'
import { quiet as quietKoa } from '../helpers/koa-door.ts'
import { isOurs } from '../helpers/way.ts'
import { within } from '../helpers/within.ts'

type Handler = (...given: never[]) => unknown

const handler = (): void => {}

/** What each door makes, which is nothing for another framework. Express can use what is for Node. */
const made: Record<string, Handler> = {
  Hono: injectHono({}),
  Fastify: injectFastify({}, handler),
  Express: injectExpress({}, handler),
  Koa: injectKoa({}, handler),
  'bare Node listeners': injectNode({}, handler),
}

/** An app of each framework with one handler, and what becomes of an error in it. */
const apps: Record<string, (handler: Handler, failed: (error: unknown) => void) => ServedApp> = {
  Hono: (handler, failed) =>
    new Hono().get('/', handler as never).onError((error, c) => {
      failed(error)
      return c.text('broken', 500)
    }),
  Fastify(handler, failed) {
    const app = Fastify()
    app.setErrorHandler((error, _request, reply) => {
      failed(error)
      return reply.code(500).send('broken')
    })
    app.get('/', handler as never)
    return app
  },
  Express: (handler, failed) =>
    onError(express().get('/', handler as never), (error, response) => {
      failed(error)
      response.status(500).end()
    }),
  Koa: (handler, failed) =>
    quietKoa()
      .use(handler as never)
      .on('error', failed),
}

describe('inject() of another door', () => {
  for (const [framework, appWith] of Object.entries(apps)) {
    for (const [door, handler] of Object.entries(made)) {
      if (door === framework || (framework === 'Express' && door.startsWith('bare'))) continue
      it(`X1 for ${door} says so in an app of ${framework}`, async () => {
        const failed = Promise.withResolvers<unknown>()
        await using asking = await listening(appWith(handler, failed.resolve))
        const { status } = await asking.ask('GET /')
        const error = await within(2_000, failed.promise, 'the error')
        assert.ok(isOurs('ERR_BAD_OPTION', new RegExp(`this inject\\(\\) is for ${door}`))(error))
        assert.equal(status, 500)
      })
    }
  }
})

import Router from '@koa/router'
import Koa, { type ParameterizedContext } from 'koa'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { inject } from '../../src/adapters/koa.ts'
import type { ServedApp } from '../../src/service/service.ts'
import type { Answer, Door, Route } from './door.ts'

/** Routes in a Koa app, whose handlers have their resources as a parameter. */
export const koaDoor: Door = {
  name: 'steward/koa',
  app: (routes) =>
    withKoaRoutes(routes, (router, path, { wanted, handle }) => {
      const handler = inject(wanted as {}, async (ctx: ParameterizedContext, values) =>
        put(ctx, await handle(values, { text: () => text(ctx.req) })),
      )
      router.all(path, handler)
    }),
}

/** The same, whose handlers take them of the context. */
export const koaMiddlewareDoor: Door = {
  name: 'steward/koa as a middleware',
  app: (routes) =>
    withKoaRoutes(routes, (router, path, { wanted, handle }) => {
      const deps = inject(wanted as {})
      router.all(path, deps, async (ctx) =>
        put(ctx, await handle(deps.of(ctx), { text: () => text(ctx.req) })),
      )
    }),
}

type Add = (router: Router, path: string, route: Route) => void

export function withKoaRoutes(routes: Readonly<Record<string, Route>>, add: Add): ServedApp {
  const router = new Router()
  for (const [path, route] of Object.entries(routes)) add(router, path, route)
  return quiet().use(router.routes())
}

/** Answers as an error says, and writes nothing to the console. */
export function quiet(): Koa {
  const app = new Koa()
  app.silent = true
  return app.use(async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      const { getResponse } = error as { getResponse?: () => Response }
      if (!getResponse || ctx.headerSent) throw error
      const given = getResponse.call(error)
      ctx.status = given.status
      ctx.set(Object.fromEntries(given.headers))
      ctx.body = await given.text()
    }
  })
}

function put(ctx: ParameterizedContext, { status = 200, headers = {}, body = '' }: Answer): void {
  ctx.status = status
  ctx.body = typeof body === 'string' ? body : Readable.from(body)
  ctx.set(headers)
}

import type { ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { inject as injectFastify } from '../../src/adapters/fastify.ts'
import { inject as injectKoa } from '../../src/adapters/koa.ts'
import { inject as injectNest } from '../../src/adapters/nest.ts'
import { perApp } from '../../src/scope/resource.ts'
import type { ServedApp } from '../../src/service/service.ts'
import type { Asked, Door } from './door.ts'
import { withFastifyRoutes } from './fastify-door.ts'
import { withKoaRoutes } from './koa-door.ts'
import { nestApp, type Incoming, type Method, type Outgoing } from './nest-door.ts'
import { write } from './node-door.ts'

// Handlers that write to Node's response by themselves, past their frameworks

export const koaOwnDoor: Door = {
  name: 'steward/koa where a handler writes by itself',
  app: (routes) =>
    withKoaRoutes(routes, (router, path, { wanted, handle }) => {
      const handler = injectKoa(wanted as {}, async (ctx, values) => {
        const answer = await handle(values, { text: () => text(ctx.req) })
        ctx.respond = false
        await write(ctx.res, answer)
      })
      router.all(path, handler)
    }),
}

export const fastifyOwnDoor: Door = {
  name: 'steward/fastify where a handler writes by itself',
  app: (routes) =>
    withFastifyRoutes(routes, (app, url, { wanted, handle }) => {
      const handler = injectFastify(wanted as {}, async (request, reply, values) => {
        const answer = await handle(values, { text: () => text(request.raw) })
        reply.hijack()
        await write(reply.raw, answer)
      })
      app.all(url, handler)
    }),
}

/** With `@Res()`. */
export function nestOwnDoor(platform: string): Door {
  return {
    name: `steward/nest on ${platform} where a method writes by itself`,
    app(routes) {
      const methods = Object.entries(routes).map(([path, { wanted, handle }]): Method => {
        const deps = injectNest(wanted as {})
        const method = async (request: Incoming, response: Outgoing): Promise<void> =>
          write(rawOf(response), await handle(deps.of(request), asked(request)))
        const handler = Object.assign(method, { writes: true })
        return { path, interceptors: [deps], handle: handler }
      })
      return perApp(() => nestApp(platform, methods)) as unknown as ServedApp
    },
  }
}

function asked(request: Incoming): Asked {
  return { text: () => text(request.raw ?? (request as NodeJS.ReadableStream)) }
}

function rawOf(response: object): ServerResponse {
  return (response as { raw?: ServerResponse }).raw ?? (response as ServerResponse)
}

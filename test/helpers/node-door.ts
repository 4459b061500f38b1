import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { inject } from '../../src/adapters/node.ts'
import type { Answer, Door } from './door.ts'

/** Listeners of Node behind a router of their own. */
export const nodeDoor: Door = {
  name: 'steward/node',
  app(routes) {
    const handlers = Object.entries(routes).map(([path, { wanted, handle }]) => {
      const listener = inject(wanted as {}, async (request, response, values) => {
        await write(response, await handle(values, { text: () => text(request) }))
      })
      return [path, listener] as const
    })
    const listeners = new Map(handlers)
    return Object.assign(
      (request: IncomingMessage, response: ServerResponse) => {
        const { pathname } = new URL(request.url!, 'http://localhost')
        const listener = listeners.get(pathname)
        return listener ? listener(request, response) : response.writeHead(404).end()
      },
      // What a router of their own would tell
      { routes: handlers.map(([, handler]) => ({ handler })) },
    )
  },
}

/** Answers by writing to Node's response. */
export async function write(
  response: ServerResponse,
  { status = 200, headers = {}, body = '' }: Answer,
): Promise<void> {
  response.writeHead(status, headers)
  if (typeof body === 'string') response.end(body)
  else await pipeline(Readable.from(body), response)
}

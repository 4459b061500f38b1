import { once } from 'node:events'
import http, { type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { Place } from './place.ts'
import { answer } from './work.ts'

/** The app, as a bare listener. */
export async function app(request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    if (request.method === 'POST') await buffer(request)
    const body = await answer(request.url ?? '/')
    if (!Buffer.isBuffer(body)) return await pipeline(body, response)
    response.setHeader('Content-Length', body.length)
    response.end(body)
  } catch {
    // The client has gone, or was cut: whether it has lost something is counted on its side
    response.destroy()
  }
}

/** Node's own server around the app, not listening yet. */
export function nodeServer({ tls, http2: isHttp2 }: Place): Server {
  const listener = (request: IncomingMessage, response: ServerResponse): void =>
    void app(request, response)
  if (!tls) return http.createServer(listener)
  if (!isHttp2) return https.createServer(tls, listener)
  // Its requests and responses are compatible, and so are the methods that rivals use
  const compatible = listener as unknown as Parameters<typeof http2.createSecureServer>[1]
  return http2.createSecureServer({ ...tls, allowHTTP1: true }, compatible) as unknown as Server
}

/** Listens at a place, and resolves with the port. */
export async function listenAt(server: Server, { fd }: Place): Promise<number> {
  if (fd === undefined) server.listen(0, '127.0.0.1')
  else server.listen({ fd })
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { serve, service } from '../../../dist/index.js'

const BODY = 'hello world'
const HEADERS = { 'content-type': 'text/plain;charset=UTF-8', 'content-length': BODY.length }

/** A listener of Node's through steward. */
export async function listen(): Promise<number> {
  const app = (_: IncomingMessage, res: ServerResponse): void => {
    res.writeHead(200, HEADERS)
    res.end(BODY)
  }
  const running = await serve(service({ app }), { port: 0, host: '127.0.0.1', signals: false })
  return Number(new URL(running.url).port)
}

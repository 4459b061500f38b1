import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { prepare } from '../../../dist/http/index.js'

const BODY = 'hello world'
const HEADERS = { 'content-type': 'text/plain;charset=UTF-8', 'content-length': BODY.length }

/** Node's server, with its connections and requests tracked. */
export async function listen(): Promise<number> {
  const server = createServer((_, res) => {
    res.writeHead(200, HEADERS)
    res.end(BODY)
  })
  prepare(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

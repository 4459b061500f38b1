import express from 'express'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

export async function listen(): Promise<number> {
  const app = express()
  app.get('/', (_, res) => {
    res.type('text/plain').send('hello world')
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

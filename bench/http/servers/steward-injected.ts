import { Hono } from 'hono'
import { inject } from '../../../dist/adapters/hono.js'
import { perApp, perRequest, serve, service } from '../../../dist/index.js'
import { Orders, Pool, Tx, User } from '../../scope/shop.ts'

const pool = perApp(() => new Pool())

const tx = perRequest({ pool }, async function* ({ pool }) {
  const tx = new Tx(pool)
  yield tx
  await tx.end()
})

const user = perRequest({ tx }, ({ tx }) => new User(tx))

const orders = perRequest({ tx, user }, ({ tx, user }) => new Orders(tx, user))

/** Hono through steward, with three resources injected, of which one has an asynchronous cleanup. */
export async function listen(): Promise<number> {
  const app = new Hono().get('/', inject({ tx, user, orders }), (c) => {
    c.var.orders.count()
    return c.text('hello world')
  })
  const running = await serve(service({ app }), { port: 0, host: '127.0.0.1', signals: false })
  return Number(new URL(running.url).port)
}

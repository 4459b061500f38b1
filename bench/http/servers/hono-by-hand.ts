import { serve } from '@hono/node-server'
import { Hono, type Context } from 'hono'
import { Orders, Pool, Tx, User } from '../../scope/shop.ts'

/** Hono on its own adapter; the handler opens three resources and closes them, as one would without a library. */
export function listen(): Promise<number> {
  const pool = new Pool()
  const app = new Hono().get('/', (c) => handle(c, pool))
  return new Promise((resolve) => {
    serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port))
  })
}

async function handle(c: Context, pool: Pool): Promise<Response> {
  const tx = new Tx(pool)
  try {
    const user = new User(tx)
    const orders = new Orders(tx, user)
    orders.count()
    return c.text('hello world')
  } finally {
    await tx.end()
  }
}

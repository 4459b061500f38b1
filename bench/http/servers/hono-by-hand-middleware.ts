import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { createMiddleware } from 'hono/factory'
import { Orders, Pool, Tx, User } from '../../scope/shop.ts'

interface Opened {
  Variables: { tx: Tx; user: User; orders: Orders }
}

/** Hono on its own adapter; a middleware opens three resources for whatever handler comes after it, and closes them. */
export function listen(): Promise<number> {
  const pool = new Pool()
  const opened = createMiddleware<Opened>(async (c, next) => {
    const tx = new Tx(pool)
    try {
      const user = new User(tx)
      c.set('tx', tx)
      c.set('user', user)
      c.set('orders', new Orders(tx, user))
      await next()
    } finally {
      await tx.end()
    }
  })
  const app = new Hono().get('/', opened, (c) => {
    c.var.orders.count()
    return c.text('hello world')
  })
  return new Promise((resolve) => {
    serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => resolve(port))
  })
}

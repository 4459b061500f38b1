import { Orders, Tx, User, type Pool } from './shop.ts'
import type { Variant } from './variant.ts'

export const awaitUsing: Variant = {
  name: 'await using',
  cleanup: 'async',
  prepare: (pool) => ({ request: () => declare(pool) }),
}

async function declare(pool: Pool): Promise<number> {
  await using tx = new Tx(pool)
  const user = new User(tx)
  const orders = new Orders(tx, user)
  return orders.count()
}

export const asyncStack: Variant = {
  name: 'AsyncDisposableStack',
  cleanup: 'async',
  prepare: (pool) => ({ request: () => stack(pool) }),
}

async function stack(pool: Pool): Promise<number> {
  await using stack = new AsyncDisposableStack()
  const tx = stack.use(new Tx(pool))
  const user = new User(tx)
  const orders = new Orders(tx, user)
  return orders.count()
}

export const using: Variant = {
  name: 'using, sync',
  cleanup: 'sync',
  prepare: (pool) => ({ request: () => declareSync(pool) }),
}

async function declareSync(pool: Pool): Promise<number> {
  using tx = new Tx(pool)
  const user = new User(tx)
  const orders = new Orders(tx, user)
  return orders.count()
}

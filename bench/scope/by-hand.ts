import { Orders, Tx, User, type Pool } from './shop.ts'
import type { Variant } from './variant.ts'

/** What the measuring itself costs: a call, and the wait for its promise. It is part of every other figure. */
export const nothing: Variant = {
  name: 'nothing at all',
  cleanup: 'none',
  prepare: () => ({ request: async () => 3 }),
}

export const byHand: Variant = {
  name: 'by hand',
  cleanup: 'async',
  prepare: (pool) => ({ request: () => handle(pool) }),
}

async function handle(pool: Pool): Promise<number> {
  const tx = new Tx(pool)
  try {
    const user = new User(tx)
    const orders = new Orders(tx, user)
    return orders.count()
  } finally {
    await tx.end()
  }
}

export const byHandSync: Variant = {
  name: 'by hand, sync',
  cleanup: 'sync',
  prepare: (pool) => ({ request: () => handleSync(pool) }),
}

async function handleSync(pool: Pool): Promise<number> {
  const tx = new Tx(pool)
  try {
    const user = new User(tx)
    const orders = new Orders(tx, user)
    return orders.count()
  } finally {
    tx.endNow()
  }
}

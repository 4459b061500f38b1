import { createInjector, type Injector } from 'typed-inject'
import { Orders, Tx, User, type Pool } from './shop.ts'
import type { Variant } from './variant.ts'

/** What a child injector provides is closed with it, so a request provides its own. */
export const typedInject: Variant = {
  name: 'typed-inject, child injector',
  cleanup: 'async',
  prepare(pool) {
    const root = createInjector().provideValue('pool', pool)
    return { request: () => handle(root), close: () => root.dispose() }
  },
}

async function handle(root: Injector<{ pool: Pool }>): Promise<number> {
  const child = root.createChildInjector()
  try {
    return child
      .provideFactory('tx', openTx)
      .provideFactory('user', openUser)
      .provideFactory('orders', openOrders)
      .resolve('orders')
      .count()
  } finally {
    await child.dispose()
  }
}

openTx.inject = ['pool'] as const
function openTx(pool: Pool): Tx {
  return new Tx(pool)
}

openUser.inject = ['tx'] as const
function openUser(tx: Tx): User {
  return new User(tx)
}

openOrders.inject = ['tx', 'user'] as const
function openOrders(tx: Tx, user: User): Orders {
  return new Orders(tx, user)
}

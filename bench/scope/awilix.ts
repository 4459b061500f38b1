import { asFunction, asValue, createContainer, InjectionMode, type AwilixContainer } from 'awilix'
import { Orders, Tx, User, type Pool } from './shop.ts'
import type { Variant } from './variant.ts'

interface Cradle {
  pool: Pool
  tx: Tx
  user: User
  orders: Orders
}

export const awilixProxy: Variant = {
  name: 'awilix (PROXY)',
  cleanup: 'async',
  prepare(pool) {
    const root = createContainer<Cradle>({ injectionMode: InjectionMode.PROXY })
    root.register({
      pool: asValue(pool),
      tx: asFunction(({ pool }: Cradle) => new Tx(pool))
        .scoped()
        .disposer((tx) => tx.end()),
      user: asFunction(({ tx }: Cradle) => new User(tx)).scoped(),
      orders: asFunction(({ tx, user }: Cradle) => new Orders(tx, user)).scoped(),
    })
    return { request: () => handle(root), close: () => root.dispose() }
  },
}

export const awilixClassic: Variant = {
  name: 'awilix (CLASSIC)',
  cleanup: 'async',
  prepare(pool) {
    const root = createContainer<Cradle>({ injectionMode: InjectionMode.CLASSIC })
    root.register({
      pool: asValue(pool),
      tx: asFunction((pool: Pool) => new Tx(pool))
        .scoped()
        .disposer((tx) => tx.end()),
      user: asFunction((tx: Tx) => new User(tx)).scoped(),
      orders: asFunction((tx: Tx, user: User) => new Orders(tx, user)).scoped(),
    })
    return { request: () => handle(root), close: () => root.dispose() }
  },
}

async function handle(root: AwilixContainer<Cradle>): Promise<number> {
  const scope = root.createScope()
  try {
    return scope.resolve('orders').count()
  } finally {
    await scope.dispose()
  }
}

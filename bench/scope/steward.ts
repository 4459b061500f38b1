import { open, perApp, perRequest } from '../../dist/index.js'
import { Orders, Tx, User } from './shop.ts'
import type { Variant } from './variant.ts'

export const steward: Variant = {
  name: 'steward, async generator',
  cleanup: 'async',
  async prepare(shared) {
    const pool = perApp(() => shared)
    const tx = perRequest({ pool }, async function* ({ pool }) {
      const tx = new Tx(pool)
      yield tx
      await tx.end()
    })
    const user = perRequest({ tx }, ({ tx }) => new User(tx))
    const orders = perRequest({ tx, user }, ({ tx, user }) => new Orders(tx, user))
    const app = await open({ pool })
    return {
      request: () => app.run({ orders }, ({ orders }) => orders.count()),
      close: async () => app[Symbol.asyncDispose](),
    }
  },
}

export const stewardSync: Variant = {
  name: 'steward, sync generator',
  cleanup: 'sync',
  async prepare(shared) {
    const pool = perApp(() => shared)
    const tx = perRequest({ pool }, function* ({ pool }) {
      const tx = new Tx(pool)
      yield tx
      tx.endNow()
    })
    const user = perRequest({ tx }, ({ tx }) => new User(tx))
    const orders = perRequest({ tx, user }, ({ tx, user }) => new Orders(tx, user))
    const app = await open({ pool })
    return {
      request: () => app.run({ orders }, ({ orders }) => orders.count()),
      close: async () => app[Symbol.asyncDispose](),
    }
  },
}

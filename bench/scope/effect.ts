import { Context, Effect, Layer, ManagedRuntime } from 'effect'
import * as shop from './shop.ts'
import type { Variant } from './variant.ts'

class Pool extends Context.Service<Pool, shop.Pool>()('Pool') {}
class Tx extends Context.Service<Tx, shop.Tx>()('Tx') {}
class User extends Context.Service<User, shop.User>()('User') {}
class Orders extends Context.Service<Orders, shop.Orders>()('Orders') {}

/** A transaction that the surrounding scope closes. */
const openTx = Effect.gen(function* () {
  const pool = yield* Pool
  return yield* Effect.acquireRelease(
    Effect.sync(() => new shop.Tx(pool)),
    (tx) => Effect.promise(() => tx.end()),
  )
})

export const effectScope: Variant = {
  name: 'Effect, scope',
  cleanup: 'async',
  prepare(pool) {
    const runtime = ManagedRuntime.make(Layer.succeed(Pool, pool))
    return { request: () => runtime.runPromise(handled), close: () => runtime.dispose() }
  },
}

const handled = Effect.scoped(
  Effect.gen(function* () {
    const tx = yield* openTx
    const user = new shop.User(tx)
    const orders = new shop.Orders(tx, user)
    return orders.count()
  }),
)

export const effectLayer: Variant = {
  name: 'Effect, layers',
  cleanup: 'async',
  prepare(pool) {
    const runtime = ManagedRuntime.make(Layer.succeed(Pool, pool))
    return { request: () => runtime.runPromise(provided), close: () => runtime.dispose() }
  },
}

const txLayer = Layer.effect(Tx, openTx)

const userLayer = Layer.effect(
  User,
  Effect.gen(function* () {
    return new shop.User(yield* Tx)
  }),
)

const ordersLayer = Layer.effect(
  Orders,
  Effect.gen(function* () {
    return new shop.Orders(yield* Tx, yield* User)
  }),
)

const requestLayer = ordersLayer.pipe(Layer.provide(userLayer), Layer.provide(txLayer))

const provided = Effect.provide(
  Effect.gen(function* () {
    return (yield* Orders).count()
  }),
  requestLayer,
)

import 'reflect-metadata'
import { Container } from 'inversify'
import { Orders, Tx, User, type Pool } from './shop.ts'
import type { Variant } from './variant.ts'

/** Only singletons are closed by inversify, so the request's resources are the singletons of a child container. */
export const inversify: Variant = {
  name: 'inversify, child container',
  cleanup: 'async',
  prepare(pool) {
    const root = new Container()
    root.bind<Pool>('pool').toConstantValue(pool)
    return { request: () => handle(root), close: () => root.unbindAllAsync() }
  },
}

async function handle(parent: Container): Promise<number> {
  const child = new Container({ parent })
  bind(child)
  try {
    return child.get<Orders>('orders').count()
  } finally {
    await child.unbindAllAsync()
  }
}

function bind(child: Container): void {
  child
    .bind<Tx>('tx')
    .toResolvedValue((pool: Pool) => new Tx(pool), ['pool'])
    .inSingletonScope()
    .onDeactivation((tx) => tx.end())
  child
    .bind<User>('user')
    .toResolvedValue((tx: Tx) => new User(tx), ['tx'])
    .inSingletonScope()
  child
    .bind<Orders>('orders')
    .toResolvedValue((tx: Tx, user: User) => new Orders(tx, user), ['tx', 'user'])
    .inSingletonScope()
}

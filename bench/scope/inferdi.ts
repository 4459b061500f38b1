import { Container } from '@inferdi/inferdi'
import { Orders, Tx, User, type Pool } from './shop.ts'
import type { Variant } from './variant.ts'

export const inferdi: Variant = {
  name: 'InferDI',
  cleanup: 'async',
  prepare(pool) {
    const root = register(pool)
    return { request: () => handle(root), close: () => root.dispose() }
  },
}

function register(pool: Pool) {
  return new Container()
    .registerValue('pool', pool)
    .registerClass('tx', Tx, ['pool'], 'scoped')
    .registerClass('user', User, ['tx'], 'scoped')
    .registerClass('orders', Orders, ['tx', 'user'], 'scoped')
}

async function handle(root: ReturnType<typeof register>): Promise<number> {
  await using scope = root.createScope()
  return scope.get('orders').count()
}

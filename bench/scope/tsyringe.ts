import 'reflect-metadata'
import { container, inject, injectable, Lifecycle, type DependencyContainer } from 'tsyringe'
import { Orders, Tx, User } from './shop.ts'
import type { Variant } from './variant.ts'

export const tsyringe: Variant = {
  name: 'tsyringe, child container',
  cleanup: 'async',
  prepare(pool) {
    decorate()
    const root = container.createChildContainer()
    root.register('pool', { useValue: pool })
    root.register('tx', { useClass: Tx }, { lifecycle: Lifecycle.ContainerScoped })
    root.register('user', { useClass: User }, { lifecycle: Lifecycle.ContainerScoped })
    root.register('orders', { useClass: Orders }, { lifecycle: Lifecycle.ContainerScoped })
    return { request: () => handle(root), close: async () => root.dispose() }
  },
}

/** The decorators, applied as functions: Node strips types and leaves decorators alone. */
function decorate(): void {
  inject('pool')(Tx, undefined, 0)
  injectable()(Tx)
  inject('tx')(User, undefined, 0)
  injectable()(User)
  inject('tx')(Orders, undefined, 0)
  inject('user')(Orders, undefined, 1)
  injectable()(Orders)
}

async function handle(root: DependencyContainer): Promise<number> {
  const child = root.createChildContainer()
  try {
    return child.resolve<Orders>('orders').count()
  } finally {
    await child.dispose()
  }
}

/**
 * What every variant opens and closes: `pool` is the app's and shared, `tx` must be closed, `user` needs `tx`,
 * and `orders` needs both.
 *
 * The classes do next to nothing, so that what is measured is the opening and closing and not the work. They count and
 * check instead: a variant that forgets a cleanup, or repeats one, or uses a closed transaction, does not get a figure.
 */
export class Pool {
  begun = 0
  ended = 0
  /** Makes `orders.count()` throw: a scope must be closed after a failure too. */
  broken = false
  /** Makes the cleanup take a turn of the event loop: who does not wait for it is found out. */
  slow: (() => Promise<void>) | undefined = undefined
  /** Filled by the self check only. */
  log: string[] | undefined = undefined
}

export class Tx {
  readonly pool: Pool
  isOpen = true

  constructor(pool: Pool) {
    this.pool = pool
    pool.begun++
    pool.log?.push('tx opened')
  }

  /** The asynchronous cleanup: it really waits, once, or it would be a synchronous one in a promise. */
  async end(): Promise<void> {
    await this.pool.slow?.()
    this.endNow()
  }

  /** The synchronous cleanup. */
  endNow(): void {
    if (!this.isOpen) throw new Error('The transaction was closed twice')
    this.isOpen = false
    this.pool.ended++
    this.pool.log?.push('tx closed')
  }

  /** What tsyringe and typed-inject call. */
  dispose(): Promise<void> {
    return this.end()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end()
  }

  [Symbol.dispose](): void {
    this.endNow()
  }
}

export class User {
  readonly tx: Tx

  constructor(tx: Tx) {
    this.tx = tx
    tx.pool.log?.push('user opened')
  }
}

export class Orders {
  readonly tx: Tx
  readonly user: User

  constructor(tx: Tx, user: User) {
    if (user.tx !== tx) throw new Error('The request has two transactions')
    this.tx = tx
    this.user = user
    tx.pool.log?.push('orders opened')
  }

  /** What the handler calls. */
  count(): number {
    if (!this.tx.isOpen) throw new Error('The transaction was closed before the handler ran')
    if (this.tx.pool.broken) throw new Error('broken')
    this.tx.pool.log?.push('handled')
    return 3
  }
}

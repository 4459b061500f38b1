/**
 * An asynchronous mutex: one turn at a time, in the order in which they were asked for.
 *
 * @example
 * using turn = await turns.take() // given back at the end of the block
 */
export class Turns {
  #last: Promise<void> = Promise.resolve()

  /** Waits until everybody who asked before has given their turn back. */
  async take(): Promise<Disposable> {
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = promise
    await before
    return { [Symbol.dispose]: resolve }
  }
}

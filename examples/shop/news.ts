/** Tells whoever waits that something has been committed. */
export class News {
  #next = Promise.withResolvers<void>()

  /** Wakes all who wait. */
  tell(): void {
    this.#next.resolve()
    this.#next = Promise.withResolvers()
  }

  /** Waits for the next news, or until `enough` is aborted. */
  async next(enough: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    if (enough.aborted) return
    const stop = (): void => resolve()
    enough.addEventListener('abort', stop)
    await Promise.race([this.#next.promise, promise])
    enough.removeEventListener('abort', stop)
  }
}

/** So much may run at a time; who wants more than is left waits, in order. */
export class Permits {
  readonly total: number
  #left: number
  readonly #waiting: { amount: number; grant: () => void }[] = []

  constructor(total: number) {
    this.total = total
    this.#left = total
  }

  /** Resolves with how to give them back; giving them back twice does nothing. */
  async take(amount: number): Promise<() => void> {
    await new Promise<void>((grant) => {
      this.#waiting.push({ amount, grant })
      this.#grant()
    })
    let taken = amount
    return () => {
      this.#left += taken
      taken = 0
      this.#grant()
    }
  }

  #grant(): void {
    for (;;) {
      const next = this.#waiting[0]
      if (!next || next.amount > this.#left) return
      this.#waiting.shift()
      this.#left -= next.amount
      next.grant()
    }
  }
}

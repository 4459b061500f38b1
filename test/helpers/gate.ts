import { EventEmitter, once } from 'node:events'
import { within } from './within.ts'

/** Something that a test waits for, or makes others wait for: opened once by `open`. */
export class Gate<T = void> {
  readonly opened: Promise<T>
  readonly open: (value: T) => void

  constructor() {
    const { promise, resolve } = Promise.withResolvers<T>()
    this.opened = promise
    this.open = resolve
  }
}

/** Counts arrivals; `reached(n)` resolves when the n-th has come. */
export class Counter {
  count = 0
  readonly #events = new EventEmitter()

  add(): void {
    this.count++
    this.#events.emit('add')
  }

  async reached(count: number): Promise<void> {
    const what = `arrival ${count}, after ${this.count}`
    while (this.count < count) await within(20_000, once(this.#events, 'add'), what)
  }
}

import type { ServiceEvent } from '../../src/base/events.ts'
import { within } from './within.ts'

type Type = ServiceEvent['type']
type Of<T extends Type> = Extract<ServiceEvent, { type: T }>

/** What a service told, in order; and a way to wait for what it will tell. */
export class Told {
  readonly events: ServiceEvent[] = []
  readonly #waiting = new Set<() => void>()

  readonly on = (event: ServiceEvent): void => {
    this.events.push(event)
    for (const look of this.#waiting) look()
  }

  /** Every event of a type so far. */
  all<T extends Type>(type: T): Of<T>[] {
    return this.events.filter((event): event is Of<T> => event.type === type)
  }

  /** The first event of a type that fits, told already or to come. */
  event<T extends Type>(type: T, fits: (event: Of<T>) => boolean = () => true): Promise<Of<T>> {
    const { promise, resolve } = Promise.withResolvers<Of<T>>()
    const look = (): void => {
      const found = this.all(type).find(fits)
      if (!found) return
      this.#waiting.delete(look)
      resolve(found)
    }
    this.#waiting.add(look)
    look()
    return within(10_000, promise, `the event ${type}`)
  }
}

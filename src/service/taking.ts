import { StewardError } from '../base/errors.ts'
import type { Resources } from '../scope/resource.ts'

/** What one injection has opened for each request, for the handlers behind it. */
export class Taking<Values> {
  readonly #names: string
  readonly #advice: string
  readonly #values = new WeakMap<object, Values>()

  constructor(wanted: Resources, advice: string) {
    this.#names = Object.keys(wanted).join(', ')
    this.#advice = advice
  }

  /** The values are open for this request. */
  keep(request: object, values: Values): void {
    this.#values.set(request, values)
  }

  /** The values of this request. @throws `ERR_NOT_INJECTED` */
  of(request: object): Values {
    const values = this.#values.get(request)
    if (values !== undefined) return values
    throw new StewardError(
      'ERR_NOT_INJECTED',
      `Cannot take { ${this.#names} } of this request: they were not injected into it; ${this.#advice}`,
    )
  }
}

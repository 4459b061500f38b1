import type { Pool } from './shop.ts'

/** One way to open a request's three resources, call the handler, and close them again. */
export interface Variant {
  readonly name: string
  /** How `tx` is closed; a variant is compared with the one written by hand of the same kind. */
  readonly cleanup: 'async' | 'sync' | 'none'
  /** Once, at the start of the app: whatever is not done per request. */
  prepare(pool: Pool): Prepared | Promise<Prepared>
}

export interface Prepared {
  /** One request. */
  request(): Promise<number>
  /** The end of the app. */
  close?(): Promise<unknown>
}

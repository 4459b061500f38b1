import { releaseAll, type Binding } from '../http/binding.ts'
import type { ServeOptions } from '../service/options.ts'
import { bindPlaces } from '../service/serve.ts'
import type { InheritedSocket } from '../supervisor/messages.ts'

/** The listening sockets of a supervised service: they are bound in this process, and its workers accept on them. */
export class Sockets {
  readonly #bindings: readonly Binding[]
  readonly #isSecure: boolean
  /** What is to be said about how they were found. */
  readonly warnings: readonly string[]

  private constructor(
    { bindings, warnings }: { bindings: readonly Binding[]; warnings: readonly string[] },
    isSecure: boolean,
  ) {
    this.#bindings = bindings
    this.#isSecure = isSecure
    this.warnings = warnings
  }

  /** Takes the places that the options name, or the default: all or none. @throws `ERR_LISTEN`, `ERR_BAD_OPTION` */
  static async bind(serve: ServeOptions): Promise<Sockets> {
    return new Sockets(await bindPlaces(serve), serve.tls !== undefined)
  }

  /** For workers: with their descriptors in this process. */
  get listen(): readonly InheritedSocket[] {
    return this.#bindings.map((binding, index) => ({ fd: binding.fd(), url: this.urls[index]! }))
  }

  /** Where the service is reached. */
  get urls(): readonly string[] {
    const urls = this.#bindings.map((binding) => binding.describe())
    return this.#isSecure ? urls.map((url) => url.replace(/^http:/, 'https:')) : urls
  }

  /** A worker listens: Unix sockets appear in their places. */
  reveal(): void {
    for (const binding of this.#bindings) binding.reveal()
  }

  /** Gives them up: what the workers hold of them is all that is left. */
  async release(): Promise<void> {
    await releaseAll(this.#bindings)
  }
}

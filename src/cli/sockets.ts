import { bindAll, releaseAll, type Binding } from '../http/binding.ts'
import { activate } from '../service/activation.ts'
import type { ServeOptions } from '../service/options.ts'
import { DEFAULT_PORT, placesOf } from '../service/places.ts'
import type { InheritedSocket } from '../supervisor/messages.ts'

/** The listening sockets of a supervised service: they are bound in this process, and its workers accept on them. */
export class Sockets {
  readonly #serve: ServeOptions
  #bindings: readonly Binding[] = []
  /** What is to be said about how they were found. */
  warnings: readonly string[] = []
  /** Why the default port could not be taken, which is told only when the service names no other. */
  trouble: unknown = undefined

  private constructor(serve: ServeOptions) {
    this.#serve = serve
  }

  /** Takes the places that were named: all or none. @throws `ERR_LISTEN`, `ERR_BAD_OPTION` */
  static async bind(serve: ServeOptions): Promise<Sockets> {
    const sockets = new Sockets(serve)
    await sockets.#bind()
    return sockets
  }

  /** Takes the default port, where none was named: the service may name one of its own when it is loaded. */
  static async bindDefault(serve: ServeOptions): Promise<Sockets> {
    const sockets = new Sockets({ ...serve, port: DEFAULT_PORT })
    try {
      await sockets.#bind()
    } catch (error) {
      sockets.trouble = error
    }
    return sockets
  }

  /** Takes another port in the place of the default one, on which nobody has listened yet; what stands in the way is its `trouble`. */
  async move(port: number): Promise<void> {
    this.trouble = undefined
    await this.release()
    this.#bindings = []
    try {
      this.#bindings = (await bindPlaces({ ...this.#serve, port })).bindings
    } catch (error) {
      this.trouble = error
    }
  }

  async #bind(): Promise<void> {
    const { bindings, warnings } = await bindPlaces(this.#serve)
    this.#bindings = bindings
    this.warnings = warnings
  }

  /** For workers: with their descriptors in this process. */
  get listen(): readonly InheritedSocket[] {
    return this.#bindings.map((binding, index) => {
      const { isSealable } = binding
      return { fd: binding.fd(), url: this.urls[index]!, isSealable }
    })
  }

  /** Where the service is reached. */
  get urls(): readonly string[] {
    const urls = this.#bindings.map((binding) => binding.describe())
    return this.#serve.tls ? urls.map((url) => url.replace(/^http:/, 'https:')) : urls
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

/** Takes the places that the options name, or the default. @throws `ERR_LISTEN`, `ERR_BAD_OPTION` */
async function bindPlaces(
  options: ServeOptions,
): Promise<{ bindings: readonly Binding[]; warnings: readonly string[] }> {
  const { targets, warnings } = activate(placesOf(options), process)
  return { bindings: await bindAll(targets), warnings }
}

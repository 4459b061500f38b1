import type { ServiceEvent } from '../../src/base/events.ts'
import { perApp, type Resource } from '../../src/scope/resource.ts'

/** What a test's resources did, in order. */
export class Trace {
  readonly lines: string[] = []

  add(line: string): void {
    this.lines.push(line)
  }

  /** What there was since the last call. */
  take(): string[] {
    return this.lines.splice(0)
  }

  /** A resource of the app that tells when it opens and closes, and gives its name. */
  app(name: string, deps: Record<string, Resource<unknown, 'app'>> = {}): Resource<string, 'app'> {
    return perApp(deps, () => this.life(name))
  }

  /** The generator of such a resource, for any scope. */
  async *life(name: string): AsyncGenerator<string, void> {
    this.add(`open ${name}`)
    await Promise.resolve()
    yield name
    this.add(`close ${name}`)
    await Promise.resolve()
    this.add(`closed ${name}`)
  }
}

/** The error of a rejection; fails when there is none. */
export async function errorOf(work: PromiseLike<unknown> | (() => unknown)): Promise<unknown> {
  let value: unknown
  try {
    value = await (typeof work === 'function' ? work() : work)
  } catch (error) {
    return error
  }
  throw new Error(`Expected a rejection, got ${String(value)}`)
}

/** The same for one of ours: its code, message, path and errors. */
export async function stewardErrorOf(
  work: PromiseLike<unknown> | (() => unknown),
): Promise<{ code: string; message: string; path: string[]; errors: unknown[]; cause: unknown }> {
  return (await errorOf(work)) as never
}

/** Collects events of some types. */
export function collect<Type extends ServiceEvent['type']>(
  ...types: Type[]
): { events: Extract<ServiceEvent, { type: Type }>[]; on: (event: ServiceEvent) => void } {
  const events: Extract<ServiceEvent, { type: Type }>[] = []
  return {
    events,
    on: (event) => {
      if (types.includes(event.type as Type)) events.push(event as never)
    },
  }
}

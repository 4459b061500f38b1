import type { ServiceEvent, Waiting } from '../base/events.ts'
import type { Release, World } from '../base/world.ts'

interface Entry {
  readonly kind: Waiting['kind']
  readonly what: string
  readonly since: number
}

/** What a stop may have to wait for beside its traffic: hooks, resources, pieces of work. Held by its service. */
export class UnderWay {
  readonly #world: World
  readonly #entries: Entry[] = []

  constructor(world: World) {
    this.#world = world
  }

  /** Something has begun; the returned function tells that it is over. */
  begin(kind: Waiting['kind'], what: string): Release {
    const entry = { kind, what, since: this.#world.now() }
    this.#entries.push(entry)
    return () => this.#end((one) => one === entry)
  }

  /** Follows hooks and resources by what is told of them. */
  readonly follow = (event: ServiceEvent): void => {
    switch (event.type) {
      case 'hook.started':
        this.begin('hook', event.name)
        break
      case 'hook.ended':
        this.#ended('hook', event.name)
        break
      case 'resource.opening':
      case 'resource.closing':
        this.begin('resource', whatOf(event))
        break
      case 'resource.opened':
      case 'resource.failed':
        this.#ended('resource', `opening ${event.name}`)
        break
      case 'resource.closed':
        this.#ended('resource', `closing ${event.name}`)
        break
      default:
    }
  }

  waiting(kind?: Waiting['kind']): Waiting[] {
    const now = this.#world.now()
    return this.#entries
      .filter((one) => kind === undefined || one.kind === kind)
      .map(({ kind: its, what, since }) => ({ kind: its, what, age: now - since }))
  }

  #ended(kind: Waiting['kind'], what: string): void {
    this.#end((one) => one.kind === kind && one.what === what)
  }

  #end(isIt: (entry: Entry) => boolean): void {
    const index = this.#entries.findIndex(isIt)
    if (index >= 0) this.#entries.splice(index, 1)
  }
}

function whatOf({ type, name }: { type: string; name: string }): string {
  return type === 'resource.opening' ? `opening ${name}` : `closing ${name}`
}

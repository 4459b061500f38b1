/**
 * Clients that ask again as soon as they were answered, and never try again. A third of them keeps its connection, a third
 * wants a new one for each request, a third does now this, now that.
 */
import { Client } from './drain/client.ts'
import { isLost, type Outcome } from './drain/outcome.ts'
import { table } from './table.ts'

export const KINDS = ['keep-alive', 'close', 'mixed'] as const
export type Kind = (typeof KINDS)[number]

const HEAD = 'POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: 4\r\n'
const KEPT = `${HEAD}\r\nbody`
const CLOSED = `${HEAD}Connection: close\r\n\r\nbody`

/** What became of the requests of one kind of clients: how often there was what. */
export class Tally {
  readonly counts = new Map<Outcome, number>()

  add(outcome: Outcome): void {
    this.counts.set(outcome, (this.counts.get(outcome) ?? 0) + 1)
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0)
  }

  get lost(): number {
    const lost = [...this.counts].filter(([outcome]) => isLost(outcome))
    return lost.reduce((sum, [, count]) => sum + count, 0)
  }

  /** All but those that were answered with 200. */
  get failed(): number {
    return this.total - (this.counts.get('answered') ?? 0)
  }

  /** How those that failed did, such as `reset 3, status 503 1`. */
  get how(): string {
    const others = [...this.counts].filter(([outcome]) => outcome !== 'answered')
    return others.map((one) => one.join(' ')).join(', ')
  }
}

/** So many clients, who ask until they are stopped. */
export class Loops {
  readonly tallies: Readonly<Record<Kind, Tally>> = {
    'keep-alive': new Tally(),
    close: new Tally(),
    mixed: new Tally(),
  }
  readonly #port: number
  readonly #clients: readonly Promise<void>[]
  #total = 0
  #waits: { for: number; resolve: () => void } | undefined = undefined
  #state: 'running' | 'stopping' = 'running'

  /** Starts so many clients, divided among the kinds. */
  constructor(port: number, clients: number, kinds: readonly Kind[] = KINDS) {
    this.#port = port
    this.#clients = Array.from({ length: clients }, (_, at) => this.#run(kinds[at % kinds.length]!))
  }

  get total(): number {
    return this.#total
  }

  get lost(): number {
    return KINDS.reduce((sum, kind) => sum + this.tallies[kind].lost, 0)
  }

  get failed(): number {
    return KINDS.reduce((sum, kind) => sum + this.tallies[kind].failed, 0)
  }

  /** Waits until there were so many requests. */
  reached(total: number): Promise<void> {
    if (this.#total >= total) return Promise.resolve()
    return new Promise((resolve) => (this.#waits = { for: total, resolve }))
  }

  /** Lets each finish what it has asked. */
  async stop(): Promise<void> {
    this.#state = 'stopping'
    await Promise.all(this.#clients)
  }

  async #run(kind: Kind): Promise<void> {
    let client: Client | undefined = undefined
    while (this.#state === 'running') {
      client ??= await this.#connect(kind)
      if (!client) continue
      const closes = kind === 'close' || (kind === 'mixed' && Math.random() < 0.3)
      this.#add(kind, await client.finish(closes ? CLOSED : KEPT))
      if (!closes && !client.toldToClose && client.isOpen) continue
      client[Symbol.dispose]()
      client = undefined
    }
    client?.[Symbol.dispose]()
  }

  /** A connection that was refused is a request that was lost. */
  async #connect(kind: Kind): Promise<Client | undefined> {
    try {
      return await Client.connect(this.#port)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      this.#add(kind, code === 'ECONNREFUSED' ? 'refused' : 'reset')
      // Whoever is refused at once would otherwise do nothing else than ask
      await new Promise((resolve) => setTimeout(resolve, 10))
      return undefined
    }
  }

  #add(kind: Kind, outcome: Outcome): void {
    this.tallies[kind].add(outcome)
    this.#total++
    if (this.#waits && this.#total >= this.#waits.for) this.#waits.resolve()
  }
}

/** One line a kind. */
export function tableOf({ tallies }: Loops): string {
  const rows = KINDS.map((kind) => {
    const { total, lost, how } = tallies[kind]
    return [kind, `${total}`, `${lost}`, how]
  })
  return table(['clients', 'requests', 'lost', 'how'], rows)
}

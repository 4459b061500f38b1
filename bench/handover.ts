/**
 * What is lost while one process after another takes over a listening socket:
 * `node bench/handover.ts [--requests 1000000] [--handovers 100] [--clients 24]`. A third of the clients keep their
 * connection, a third want a new one for each request, a third do now this, now that. Each asks again as soon as it was answered,
 * and never tries again.
 */
import net from 'node:net'
import { parseArgs } from 'node:util'
import { Client } from './drain/client.ts'
import { count, isLost, type Outcome } from './drain/outcome.ts'
import { Subject } from './drain/subject.ts'
import { described, machine } from './machine.ts'
import { table } from './table.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000000' },
    handovers: { type: 'string', default: '100' },
    clients: { type: 'string', default: '24' },
  },
})
const REQUESTS = Number(values.requests)
const HANDOVERS = Number(values.handovers)

const KINDS = ['keep-alive', 'close', 'mixed'] as const
type Kind = (typeof KINDS)[number]

const KEPT = 'POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: 4\r\n\r\nbody'
const CLOSED =
  'POST / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody'

/** Those of one kind: what became of their requests. */
class Loop {
  readonly kind: Kind
  readonly outcomes: Outcome[] = []
  readonly #port: number
  readonly #counter: Counter

  constructor(kind: Kind, port: number, counter: Counter) {
    this.kind = kind
    this.#port = port
    this.#counter = counter
  }

  async run(): Promise<void> {
    let client = await this.#connect()
    while (this.#counter.goesOn && client) {
      const closes = this.kind === 'close' || (this.kind === 'mixed' && Math.random() < 0.3)
      this.outcomes.push(await client.finish(closes ? CLOSED : KEPT))
      this.#counter.add()
      if (!closes && !client.toldToClose && client.isOpen) continue
      client[Symbol.dispose]()
      client = await this.#connect()
    }
    client?.[Symbol.dispose]()
  }

  /** A refused connection is a lost request as well. */
  async #connect(): Promise<Client | undefined> {
    while (this.#counter.goesOn) {
      try {
        return await Client.connect(this.#port)
      } catch {
        this.outcomes.push('reset')
        this.#counter.add()
      }
    }
    return undefined
  }
}

/** How many requests there were, and who waits for how many. */
class Counter {
  #count = 0
  #waits: { for: number; resolve: () => void } | undefined = undefined

  get goesOn(): boolean {
    return this.#count < REQUESTS
  }

  add(): void {
    this.#count++
    if (this.#waits && this.#count >= this.#waits.for) this.#waits.resolve()
  }

  reached(count: number): Promise<void> {
    return new Promise((resolve) => (this.#waits = { for: count, resolve }))
  }
}

await main()

async function main(): Promise<void> {
  using socket = new net.BoundSocket({ host: '127.0.0.1' })
  const { port } = socket.address()
  const start = (): Promise<Subject> => Subject.start('steward', { fd: 3 }, socket.fd())
  let current = await start()
  const counter = new Counter()
  const loops = KINDS.map((kind) => new Loop(kind, port, counter))
  const each = Math.ceil(Number(values.clients) / KINDS.length)
  const began = performance.now()
  const clients = loops.flatMap((loop) => Array.from({ length: each }, () => loop.run()))
  const codes: (number | string)[] = []
  for (let handover = 1; handover <= HANDOVERS; handover++) {
    await counter.reached((REQUESTS / (HANDOVERS + 1)) * handover)
    const next = await start()
    current.signal()
    codes.push((await current.exit()).code)
    current = next
  }
  await Promise.all(clients)
  current.signal()
  codes.push((await current.exit()).code)
  print(loops, codes, performance.now() - began)
}

function print(loops: readonly Loop[], codes: readonly (number | string)[], took: number): void {
  const rows = loops.map(({ kind, outcomes }) => {
    const { total, lost, kinds } = count(outcomes)
    return [kind, `${total}`, `${lost}`, [...kinds].map((one) => one.join(' ')).join(', ')]
  })
  const all = loops.flatMap(({ outcomes }) => outcomes)
  const lost = all.filter((outcome) => outcome !== 'answered' && isLost(outcome)).length
  console.log(described(machine([])))
  console.log(`${HANDOVERS} hand-overs, ${(took / 1_000).toFixed(0)} s\n`)
  console.log(table(['clients', 'requests', 'lost', 'how'], rows))
  const bad = codes.filter((code) => code !== 0).length
  console.log(
    `\n${lost === 0 && bad === 0 ? 'met   ' : 'MISSED'}  nothing is lost: ${lost} of ${all.length}, ${bad} of ${codes.length} exit codes other than 0`,
  )
  if (lost > 0 || bad > 0) process.exitCode = 1
}

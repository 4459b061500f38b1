import { pause } from '../helpers/pause.ts'
import { Random } from '../helpers/random.ts'
import { bodyOf, headOf, StrictClient, type Asked, type Asking } from '../helpers/strict-client.ts'
import { targetOf, type Wish } from './answers.ts'
import type { Ledger, Visit } from './ledger.ts'

/** What the clients of a soak share. */
export interface Load {
  readonly seed: number
  readonly port: number
  readonly ledger: Ledger
  /** Aborted when no more is to be asked. */
  readonly ending: AbortSignal
}

/** One that asks and asks until the load ends; what it does is drawn from its seed. */
export async function runClient(number: number, load: Load): Promise<void> {
  const random = new Random(load.seed, number)
  const client = new Caller(number, random, load)
  while (!load.ending.aborted) {
    const behaviour = random.pick(NAMES)
    await client.visit(behaviour)
    await pause(random.int(0, 40))
  }
}

type Behaviour = (call: Call) => Promise<void>

/** How long a client waits for an answer: longer than the longest grace. */
const PATIENCE = 15_000

class Caller {
  readonly #name: string
  readonly #random: Random
  readonly #load: Load
  #count = 0

  constructor(number: number, random: Random, load: Load) {
    this.#name = `c${number}`
    this.#random = random
    this.#load = load
  }

  /** One connection, from its beginning to its end. */
  async visit(behaviour: keyof typeof BEHAVIOURS): Promise<void> {
    const { port, ledger } = this.#load
    let client: StrictClient
    try {
      const holdOpen = behaviour === 'half-closing'
      client = await StrictClient.connect(port, { patience: PATIENCE, holdOpen })
    } catch (error) {
      return ledger.refused(behaviour, error)
    }
    const visit: Visit = { behaviour, client, wishes: new Map() }
    const call = new Call(visit, this.#random, () => `${this.#name}-${this.#count++}`)
    try {
      await BEHAVIOURS[behaviour](call)
    } finally {
      await call.end()
      ledger.add(visit)
    }
  }
}

/** One connection, and the dice of its client. */
class Call {
  readonly client: StrictClient
  readonly random: Random
  readonly #visit: Visit
  readonly #nextId: () => string

  constructor(visit: Visit, random: Random, nextId: () => string) {
    this.client = visit.client
    this.random = random
    this.#visit = visit
    this.#nextId = nextId
  }

  /** A request as random as they come, but for what is given. */
  asking(given: Partial<Asking> = {}, wishes: Partial<Wish> = {}): [Asking, Wish] {
    const { random } = this
    const wish: Wish = {
      id: this.#nextId(),
      wait: random.chance(0.7) ? random.int(0, 15) : random.int(20, 500),
      size: random.chance(0.8) ? random.int(0, 2_000) : random.int(2_000, 80_000),
      parts: random.chance(0.7) ? 1 : random.int(2, 5),
      gap: random.chance(0.7) ? 0 : random.int(1, 80),
      reads: random.chance(0.85) ? 'all' : 'nothing',
      commits: random.chance(0.3),
      ...wishes,
    }
    const drawn: Partial<Asking> = random.chance(0.5)
      ? { method: 'POST', body: Buffer.alloc(random.int(0, 5_000), wish.id) }
      : { method: random.pick(['GET', 'GET', 'GET', 'HEAD', 'DELETE']) }
    return [{ ...(given.method ? {} : drawn), ...given, target: targetOf(wish) }, wish]
  }

  begin([asking, wish]: [Asking, Wish]): Asked {
    const asked = this.client.begin(asking)
    this.#visit.wishes.set(asked, wish)
    return asked
  }

  /** Asks all at once. */
  ask(request: [Asking, Wish] = this.asking()): Asked {
    const asked = this.begin(request)
    const [asking] = request
    void this.client.write(asked, Buffer.concat([headOf(asking), bodyOf(asking)]), true)
    return asked
  }

  /** Writes in pieces, with pauses between them; stops when the answer has come first. */
  async write(asked: Asked, bytes: Buffer, pieces: number): Promise<void> {
    const size = Math.max(1, Math.ceil(bytes.length / pieces))
    for (let at = 0; at < bytes.length && asked.fate === undefined; at += size) {
      const last = at + size >= bytes.length
      await this.client.write(asked, bytes.subarray(at, at + size), last)
      if (!last) await this.rest(60)
    }
  }

  rest(most: number): Promise<void> {
    return pause(this.random.int(0, most))
  }

  /** Waits for the server's end where it has to come, else leaves. */
  async end(): Promise<void> {
    const { client } = this
    const last = client.asked.at(-1)
    const isLast = last?.answer?.keepsAlive === false || last?.fate === 'behind a close'
    if (isLast && client.left === undefined && !(await client.sawEnd())) {
      client.extra += '(nothing: it stays open behind its last answer)'
    }
    client.leave()
    await client.closed
  }
}

async function askInTurn(call: Call, given: Partial<Asking> = {}): Promise<void> {
  for (let left = call.random.int(1, 12); left > 0 && call.client.isOpen; left--) {
    await call.client.over(call.ask(call.asking(given)))
    await call.rest(150)
  }
}

const BEHAVIOURS = {
  'keep-alive': (call) => askInTurn(call),

  async closing(call) {
    const given = { headers: { Connection: 'close' } }
    await call.client.over(call.ask(call.asking(given)))
  },

  async pipelining(call) {
    for (let rounds = call.random.int(1, 3); rounds > 0 && call.client.isOpen; rounds--) {
      const version = call.random.pick(['1.1', '1.1', '1.1', '1.0'] as const)
      const given = version === '1.0' ? { version, headers: { Connection: 'keep-alive' } } : {}
      const asked = Array.from({ length: call.random.int(2, 5) }, () =>
        call.ask(call.asking(given)),
      )
      for (const one of asked) await call.client.over(one)
      await call.rest(100)
    }
  },

  async 'slow writer'(call) {
    const request = call.asking()
    const asked = call.begin(request)
    const bytes = Buffer.concat([headOf(request[0]), bodyOf(request[0])])
    await call.write(asked, bytes, call.random.int(2, 12))
    await call.client.over(asked)
  },

  async 'silent at first'(call) {
    await call.rest(800)
    await askInTurn(call)
  },

  async 'half a head'(call) {
    const request = call.asking()
    const asked = call.begin(request)
    const head = headOf(request[0])
    const half = call.random.int(1, head.length - 1)
    await call.client.write(asked, head.subarray(0, half), false)
    await call.rest(1_500)
    if (call.random.chance(0.2)) return
    const rest = Buffer.concat([head.subarray(half), bodyOf(request[0])])
    if (asked.fate === undefined) await call.client.write(asked, rest, true)
    await call.client.over(asked)
  },

  async leaving(call) {
    const how = call.random.pick(['closed', 'reset'] as const)
    const phase = call.random.pick(['connected', 'head', 'body', 'asked', 'answer', 'pipeline'])
    await leaveIn(call, phase)
    call.client.leave(how)
  },

  async 'slow reader'(call) {
    const size = call.random.int(100_000, 3_000_000)
    const asked = call.ask(call.asking({ method: 'GET' }, { size, commits: false }))
    call.client.pause()
    await call.rest(1_500)
    call.client.resume()
    await call.client.over(asked)
  },

  async 'HTTP/1.0'(call) {
    const keeps = call.random.chance(0.5)
    const given = { version: '1.0' as const, headers: keeps ? { Connection: 'keep-alive' } : {} }
    await askInTurn(call, given)
  },

  async chunked(call) {
    const { random } = call
    const body = Buffer.alloc(random.int(1, 20_000), 'chunk')
    const request = call.asking({ method: 'PUT', body, chunked: random.int(100, 5_000) })
    const asked = call.begin(request)
    const bytes = Buffer.concat([headOf(request[0]), bodyOf(request[0])])
    await call.write(asked, bytes, random.int(1, 10))
    await call.client.over(asked)
  },

  async 'expecting to continue'(call) {
    const body = Buffer.alloc(call.random.int(1, 20_000), 'body')
    const request = call.asking({ method: 'POST', body, headers: { Expect: '100-continue' } })
    const asked = call.begin(request)
    await call.client.write(asked, headOf(request[0]), false)
    if (await call.client.continued(asked)) await call.write(asked, body, call.random.int(1, 4))
    await call.client.over(asked)
  },

  async 'half-closing'(call) {
    const asked = call.ask()
    call.client.halfClose()
    await call.client.over(asked)
  },

  async idling(call) {
    await call.client.over(call.ask())
    await call.rest(3_000)
    if (call.client.isOpen) await call.client.over(call.ask())
  },
} satisfies Record<string, Behaviour>

const NAMES = Object.keys(BEHAVIOURS) as (keyof typeof BEHAVIOURS)[]

/** Comes so far, and no further. */
async function leaveIn(call: Call, phase: string): Promise<void> {
  const { client, random } = call
  if (phase === 'connected') return call.rest(50)
  if (phase === 'pipeline') for (let left = random.int(1, 3); left > 0; left--) call.ask()
  const request = call.asking({ method: 'POST', body: Buffer.alloc(3_000, 'b') })
  const asked = call.begin(request)
  const head = headOf(request[0])
  const part = phase === 'head' ? head.subarray(0, random.int(1, head.length - 1)) : head
  await client.write(asked, part, false)
  if (phase === 'head') return call.rest(50)
  const body = bodyOf(request[0])
  if (phase === 'body') await client.write(asked, body.subarray(0, 1_000), false)
  else await client.write(asked, body, true)
  if (phase === 'answer') await client.over(asked)
  else await call.rest(300)
}

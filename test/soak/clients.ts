import { pause } from '../helpers/pause.ts'
import { Random } from '../helpers/random.ts'
import { bodyOf, headOf, StrictClient, type Asked, type Asking } from '../helpers/strict-client.ts'
import type { Wish } from './answers.ts'
import type { Visit } from './ledger.ts'
import { PATIENCE, randomRequest, type Caller, type Load, type Request } from './requests.ts'
import { visitByHttp2 } from './streams.ts'

/** One that asks and asks until the load ends; what it does is drawn from its seed. */
export async function runClient(number: number, load: Load): Promise<void> {
  const random = new Random(load.seed, number)
  let count = 0
  const caller: Caller = { random, load, nextId: () => `c${number}-${count++}` }
  while (!load.ending.aborted) {
    const isHttp2 = load.way.http2 && random.chance(0.6)
    await (isHttp2 ? visitByHttp2(caller) : visit(caller))
    await pause(random.int(0, 40))
  }
}

type Behaviour = (call: Call) => Promise<void>

/** One connection, from its beginning to its end. */
async function visit({ random, load, nextId }: Caller): Promise<void> {
  const { port, ledger, way } = load
  const behaviour = random.pick(NAMES)
  const options = { patience: PATIENCE, holdOpen: behaviour === 'half-closing', tls: way.tls }
  const at = performance.now()
  const client = await StrictClient.connect(port, options).catch((error: unknown) =>
    ledger.refused(behaviour, { error, at, until: performance.now() }),
  )
  if (!client) return
  const visit: Visit = { behaviour, client, wishes: new Map() }
  const call = new Call({ client, visit }, random, nextId)
  try {
    await BEHAVIOURS[behaviour](call)
  } finally {
    await call.end()
    ledger.add(visit)
  }
}

/** One connection, and the dice of its client. */
class Call {
  readonly client: StrictClient
  readonly random: Random
  readonly #visit: Visit
  readonly #nextId: () => string

  constructor(
    { client, visit }: { client: StrictClient; visit: Visit },
    random: Random,
    nextId: () => string,
  ) {
    this.client = client
    this.random = random
    this.#visit = visit
    this.#nextId = nextId
  }

  /** A request as random as they come, but for what is given. */
  asking(given: Partial<Asking> = {}, wishes: Partial<Wish> = {}): Request {
    return randomRequest(this.random, given, { id: this.#nextId(), ...wishes })
  }

  begin([asking, wish]: Request): Asked {
    const asked = this.client.begin(asking)
    this.#visit.wishes.set(asked, wish)
    return asked
  }

  /** Asks all at once. */
  ask(request: Request = this.asking()): Asked {
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
    // The server reads on for two seconds behind its last byte, and the machine may be slow
    await call.rest(800)
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

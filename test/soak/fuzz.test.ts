import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Random } from '../helpers/random.ts'
import { StrictClient } from '../helpers/strict-client.ts'
import { turns, within } from '../helpers/within.ts'
import { answerTo, targetOf } from './answers.ts'
import { complaintsAbout, Generations, type Generation, type Plan } from './generations.ts'
import { malformed, pieces, type Malformed } from './malformed.ts'

const CASES = Number(process.env['FUZZ_CASES'] ?? 10_000)

/** What every case is drawn from, with its number: the same seed gives the same bytes. */
const SEED = Number(process.env['FUZZ_SEED'] ?? Math.trunc(Math.random() * 1e9))

/** How many cases are under way at a time, each on a connection of its own. */
const BATCH = 500

/** How long a case may take until the server has ended its connection, in milliseconds. */
const LIMIT = 8_000

interface Case {
  readonly name: string
  readonly garbage: Malformed
  readonly parts: readonly Buffer[]
  /** How many good requests go before, on the same connection. */
  readonly good: number
  /** Do they wait for their answers first, or is all of it in one pipeline? */
  readonly waits: boolean
  readonly ending: 'fin' | 'reset' | 'stays'
}

function drawCase(number: number): Case {
  const random = new Random(SEED, number)
  const garbage = malformed(random)
  return {
    name: `FUZZ_SEED=${SEED}, case ${number}`,
    garbage,
    parts: pieces(garbage.bytes, random),
    good: random.pick([0, 0, 1, 1, 2, 3]),
    waits: random.chance(0.5),
    ending: random.pick(['fin', 'fin', 'reset', 'stays']),
  }
}

/** Writes a case, and gives what is wrong with what came. */
async function run(one: Case, client: StrictClient, serving: boolean): Promise<string | undefined> {
  const wishes = Array.from({ length: one.good }, (_, number) => {
    return { id: `g${number}`, wait: number % 2, size: 0, parts: 1, gap: 0 }
  })
  const good = wishes.map((wish) => {
    return client.ask({ target: targetOf({ ...wish, reads: 'all', commits: false }) })
  })
  if (one.waits) for (const asked of good) await client.over(asked)
  // A connection whose last answer said close is not written to any more
  const bad = client.begin({ target: '?' })
  for (const part of bad.fate === undefined ? one.parts : []) {
    await client.write(bad, part, part === one.parts.at(-1))
    await turns(1)
  }
  if (one.ending === 'reset') {
    client.leave('reset')
    return undefined
  }
  if (one.ending === 'fin') client.halfClose()
  if (!(await ends(one, client, serving))) return 'the connection stays open'
  for (const [index, asked] of good.entries()) {
    const { answer, fate } = asked
    if (fate === 'behind a close' && index > 0) continue
    if (!answer) return `a good request before it: ${fate}`
    if (answer.status !== 200) return `a good request before it was answered ${answer.status}`
    if (!answer.body.equals(answerTo(wishes[index]!, Buffer.alloc(0)))) return 'another answer'
  }
  return bad.fate === 'malformed' ? 'the answer to it is malformed' : undefined
}

/** Waits for the server's end; while it serves, a client that has stayed for a moment ends its own side. */
async function ends(one: Case, client: StrictClient, serving: boolean): Promise<boolean> {
  if (one.ending === 'fin') return client.sawEnd()
  for (const asked of client.asked.slice(0, -1)) await client.over(asked)
  await turns(20)
  if (client.ended === undefined && serving) client.halfClose()
  return client.sawEnd()
}

async function batch(cases: readonly Case[], generations: Generations, stop?: () => Promise<void>) {
  const clients = await Promise.all(
    cases.map(() => StrictClient.connect(generations.port, { patience: LIMIT, holdOpen: true })),
  )
  await check(generations.port)
  const stopped = stop?.()
  const wrongs = await Promise.all(
    cases.map(async (one, index) => {
      const client = clients[index]!
      const wrong = await run(one, client, stop === undefined).catch((error: unknown) =>
        String(error),
      )
      client.leave()
      await client.closed
      return wrong && [`${one.name}: ${wrong}`, describeCase(one), ...client.trace].join('\n    ')
    }),
  )
  await stopped
  return wrongs.filter((wrong): wrong is string => Boolean(wrong))
}

function describeCase({ garbage, parts, good, waits, ending }: Case): string {
  return `${garbage.kind}; ${JSON.stringify({ parts: parts.length, good, waits, ending })}`
}

/** A good request on a connection of its own: everything that came before has been accepted by then, and it is alive. */
async function check(port: number): Promise<void> {
  const client = await StrictClient.connect(port, { patience: LIMIT })
  const wish = { id: 'check', wait: 0, size: 0, parts: 1, gap: 0, commits: false }
  const headers = { Connection: 'close' }
  const asked = client.ask({ target: targetOf({ ...wish, reads: 'all' }), headers })
  assert.equal((await client.over(asked)).answer?.status, 200, client.trace.join('\n'))
  client.leave()
}

const plan = (app: Plan['app']): Plan => {
  return { app, grace: 3_000, drainDelay: 0, handover: 'gap', second: 'none' }
}

describe('a fuzz of malformed input', () => {
  const timeout = 110_000
  it(`X2 answers or closes, while serving (FUZZ_SEED=${SEED})`, { timeout }, async () => {
    using generations = new Generations(new Random(SEED))
    const wrongs: string[] = []
    for (const app of ['node', 'hono'] as const) {
      const generation = await generations.start(plan(app))
      const first = app === 'node' ? 0 : 1
      for (let at = first; at < CASES / 2 && wrongs.length === 0; at += 2 * BATCH) {
        const numbers = Array.from({ length: BATCH }, (_, index) => at + 2 * index)
        wrongs.push(...(await batch(numbers.map(drawCase), generations)))
      }
      await check(generations.port)
      wrongs.push(...(await endOf(generation, generations)))
    }
    report(wrongs)
  })

  it(`X2 H7 answers or closes, while draining (FUZZ_SEED=${SEED})`, { timeout }, async () => {
    using generations = new Generations(new Random(SEED))
    const wrongs: string[] = []
    for (let at = CASES / 2; at < CASES && wrongs.length === 0; at += BATCH) {
      const generation = await generations.start(plan(at % (2 * BATCH) === 0 ? 'node' : 'hono'))
      const numbers = Array.from({ length: BATCH }, (_, index) => at + index)
      const stop = (): Promise<void> => generations.stop(generation)
      wrongs.push(...(await batch(numbers.map(drawCase), generations, stop)))
      wrongs.push(...complaintsAbout(generation))
    }
    report(wrongs)
  })
})

async function endOf(generation: Generation, generations: Generations): Promise<string[]> {
  await within(LIMIT, generations.stop(generation), 'the end')
  const { code } = generation.exit!
  // What a client has broken off is over by then: nothing is left to be cut
  const left = code === 0 ? [] : [`it exited with ${code}, with nothing under way`]
  return [...complaintsAbout(generation), ...left]
}

function report(wrongs: readonly string[]): void {
  assert.equal(wrongs.length, 0, `${wrongs.length} wrong\n${wrongs.slice(0, 5).join('\n')}`)
}

import assert from 'node:assert/strict'
import { shuffled } from '../figures.ts'
import { Child } from './child.ts'
import type { LoadAnswer, LoadQuestion, ServerAnswer } from './messages.ts'

export interface Rounds {
  /** How often all servers are started anew: two processes of one program differ, too. */
  readonly launches: number
  /** Rounds in each launch. */
  readonly rounds: number
  readonly seconds: number
  readonly connections: number
}

/** What was measured of one server, one sample a round. */
export interface Samples {
  /** Requests answered per second. */
  readonly rate: number[]
  /** The rate, divided by what the base reached right before and right after. */
  readonly ratio: number[]
  /** Microseconds of the server's processor time per request. */
  readonly cpu: number[]
  /**
   * What a second of processor time answers, divided by what it answers for the base right before and right after: the
   * ratio of the rates, had nobody else used the machine.
   */
  readonly perCpu: number[]
  /** The part of its core that the server used: below 1, something else was the limit. */
  readonly busy: number[]
}

/** The file of a server, and under which name it is measured. */
export interface Entry {
  readonly name: string
  readonly file: string
}

interface Server {
  readonly name: string
  readonly child: Child
  readonly url: string
}

/** The samples of every server by name, each compared with the base. */
export async function measure(
  base: Entry,
  others: readonly Entry[],
  rounds: Rounds,
): Promise<Map<string, Samples>> {
  const samples = new Map([base, ...others].map(({ name }) => [name, none()]))
  for (let launch = 0; launch < rounds.launches; launch++) {
    await launched(base, others, { ...rounds, samples })
  }
  return samples
}

function none(): Samples {
  return { rate: [], ratio: [], cpu: [], perCpu: [], busy: [] }
}

interface Launch extends Rounds {
  readonly samples: ReadonlyMap<string, Samples>
}

/** Starts all servers, runs the rounds one server at a time while the others are idle, and ends them. */
async function launched(base: Entry, others: readonly Entry[], launch: Launch): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const load = stack.use(Child.start(1, 'load.ts'))
  const first = await start(base, stack)
  const servers: Server[] = []
  for (const other of others) servers.push(await start(other, stack))
  for (const server of [first, ...servers]) await run(load, server, { ...launch, seconds: 2 })
  for (let round = 0; round < launch.rounds; round++) {
    await bracketed(load, first, { ...launch, servers: shuffled(servers) })
  }
}

async function start({ name, file }: Entry, stack: AsyncDisposableStack): Promise<Server> {
  const child = stack.use(Child.start(0, 'server.ts', [file]))
  const { port } = (await child.heard(20_000)) as Extract<ServerAnswer, { port: number }>
  const url = `http://127.0.0.1:${port}/`
  const response = await fetch(url)
  assert.equal(response.status, 200, name)
  assert.equal(await response.text(), 'hello world', name)
  return { name, child, url }
}

/** One round: base, other, base, other … base; each is compared with the two runs of the base that it stands between. */
async function bracketed(
  load: Child,
  base: Server,
  launch: Launch & { servers: readonly Server[] },
): Promise<void> {
  let before = await run(load, base, launch)
  for (const server of launch.servers) {
    const own = await run(load, server, launch)
    const after = await run(load, base, launch)
    note(launch.samples.get(server.name), own, [before, after])
    note(launch.samples.get(base.name), after, [after])
    before = after
  }
}

interface Run {
  readonly rate: number
  readonly cpu: number
  readonly busy: number
}

async function run(
  load: Child,
  { name, child, url }: Server,
  { connections, seconds }: Omit<LoadQuestion, 'url'>,
): Promise<Run> {
  const before = await processorTime(child)
  const question: LoadQuestion = { url, connections, seconds }
  const answer = (await load.ask(question, (seconds + 20) * 1000)) as LoadAnswer
  assert.equal(answer.failed, 0, `"${name}" failed requests`)
  const cpu = (await processorTime(child)) - before
  return {
    rate: answer.requests / answer.seconds,
    cpu: cpu / answer.requests,
    busy: cpu / 1e6 / answer.seconds,
  }
}

async function processorTime(child: Child): Promise<number> {
  const { cpu } = (await child.ask({})) as Extract<ServerAnswer, { cpu: number }>
  return cpu
}

function note(samples: Samples | undefined, own: Run, base: readonly Run[]): void {
  samples?.rate.push(own.rate)
  samples?.ratio.push(own.rate / mean(base.map(({ rate }) => rate)))
  samples?.cpu.push(own.cpu)
  samples?.perCpu.push(mean(base.map(({ cpu }) => cpu)) / own.cpu)
  samples?.busy.push(own.busy)
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0) / numbers.length
}

/** What the parent costs: processor time for each connection, memory, and what it does while nothing happens. */
import { figure, type Figure } from '../figures.ts'
import { Child } from '../http/child.ts'
import type { LoadAnswer } from '../http/messages.ts'
import { Loops } from '../loops.ts'
import { pause } from './asking.ts'
import { MAIN, programFile, type Rival } from './rivals.ts'
import { freePort, Running } from './running.ts'
import { cpuOf, rssOf, treeOf } from './tree.ts'

/** Of one launch with two workers. */
export interface Cost {
  /** Microseconds of processor time for a connection with one request: of the parent, and of all. */
  readonly parent: number
  readonly all: number
  /** Of the parent, in megabytes. */
  readonly rss: number
  /** The part of a processor that the parent takes while nobody asks. */
  readonly idle: number
}

export async function cost(rival: Rival, seconds: number): Promise<Cost> {
  await using managed = await rival.start(2)
  const { parent, port } = managed
  await loaded(port, 1)
  const pids = treeOf(parent)
  const before = pids.map(cpuOf)
  const requests = await loaded(port, seconds)
  const spent = pids.map((pid, at) => ((cpuOf(pid) - before[at]!) * 1_000) / requests)
  await pause(5_000)
  const since = { cpu: cpuOf(parent), at: performance.now() }
  await pause(10_000)
  const idle = (cpuOf(parent) - since.cpu) / (performance.now() - since.at)
  const all = spent.reduce((sum, one) => sum + one, 0)
  return { parent: spent[0]!, all, rss: rssOf(parent), idle }
}

async function loaded(port: number, seconds: number): Promise<number> {
  const loops = new Loops(port, 16, ['close'])
  await pause(seconds * 1_000)
  await loops.stop()
  return loops.total
}

/**
 * Requests per second of processor time through one supervised worker, of what the same process reaches without a supervisor. The time of
 * the supervisor counts. A round asks the one, then the other, and the other way round in the next.
 */
export async function throughput(rounds: number, seconds: number): Promise<Figure> {
  await using stack = new AsyncDisposableStack()
  const load = stack.use(Child.start(1, 'load.ts'))
  const [one, other] = [await served([], stack), await served(['--no-supervisor'], stack)]
  const ratios: number[] = []
  for (const server of [one, other]) await perCpuSecond(load, server, seconds)
  for (let round = 0; round < rounds; round++) {
    const rates = new Map<Server, number>()
    for (const server of round % 2 === 0 ? [one, other] : [other, one]) {
      rates.set(server, await perCpuSecond(load, server, seconds))
    }
    ratios.push(rates.get(one)! / rates.get(other)!)
  }
  return figure(ratios)
}

interface Server {
  readonly url: string
  readonly pid: number
}

async function served(args: readonly string[], stack: AsyncDisposableStack): Promise<Server> {
  const port = await freePort()
  const where = ['serve', programFile('app.ts'), '--port', String(port), '--no-control', ...args]
  const program = stack.use(new Running([process.execPath, MAIN, ...where], { core: 0 }))
  await program.said('"event":"service.ready"')
  return { url: `http://127.0.0.1:${port}/`, pid: program.pid }
}

async function perCpuSecond(load: Child, { url, pid }: Server, seconds: number): Promise<number> {
  const pids = treeOf(pid)
  const cpu = (): number => pids.reduce((sum, one) => sum + cpuOf(one), 0)
  const before = cpu()
  const question = { url, connections: 50, seconds }
  const answer = (await load.ask(question, (seconds + 20) * 1_000)) as LoadAnswer
  if (answer.failed > 0) throw new Error(`${answer.failed} requests failed`)
  return answer.requests / ((cpu() - before) / 1_000)
}

/** What is lost in rolling restarts, and by one worker that is killed. */
import { figure } from '../figures.ts'
import { KINDS, Loops, type Kind } from '../loops.ts'
import { table } from '../table.ts'
import { ask, askUntil, pause, type Waited } from './asking.ts'
import type { Managed, Rival } from './rivals.ts'

/** What became of the requests of some rival, while it was restarted. */
export interface Rolled {
  readonly loops: Loops
  /** Milliseconds for each restart of both workers. */
  readonly took: readonly number[]
}

/** Rolling restarts of so many workers, under load without a pause. */
export async function rolled(rival: Rival, workers: number, restarts: number): Promise<Rolled> {
  await using managed = await rival.start(workers)
  const loops = new Loops(managed.port, 12)
  const took: number[] = []
  for (let restart = 0; restart < restarts; restart++) {
    await pause(500)
    const since = performance.now()
    await managed.roll()
    took.push(performance.now() - since)
  }
  await pause(500)
  await loops.stop()
  return { loops, took }
}

export function rolledTable(results: ReadonlyMap<Rival, Rolled>, title: string): string {
  const rows = [...results].map(([{ name }, { loops, took }]) => [
    name,
    ...KINDS.map((kind) => failed(loops, kind)),
    `${(figure(took).median / 1_000).toFixed(1)} s`,
  ])
  return table([title, ...KINDS, 'a restart'], rows)
}

function failed({ tallies }: Loops, kind: Kind): string {
  const { failed, total, how } = tallies[kind]
  return failed === 0 ? `0 of ${total}` : `${failed} of ${total} (${how})`
}

/** Kills the only worker with SIGKILL, in a launch of its own each time, and asks until another one answers. */
export async function crashed(rival: Rival, trials: number): Promise<Waited[]> {
  const all: Waited[] = []
  for (let trial = 0; trial < trials; trial++) {
    await using managed = await rival.start(1)
    const worker = await workerOf(managed)
    await pause(1_000)
    process.kill(worker, 'SIGKILL')
    all.push(await askUntil(managed.port, (answer) => answer.worker !== worker))
  }
  return all
}

async function workerOf({ port }: Managed): Promise<number> {
  const asked = await ask(port)
  if (asked.is !== 'answered') throw new Error(`The request was ${asked.is}`)
  return asked.worker
}

export function waitedTable(
  results: ReadonlyMap<{ name: string }, Waited[]>,
  title: string,
): string {
  const rows = [...results].map(([{ name }, all]) => {
    const { median, p10, p90 } = figure(all.map(({ took }) => took))
    const sum = (kind: 'refused' | 'lost'): string =>
      `${all.reduce((total, one) => total + one[kind], 0)}`
    return [
      name,
      median.toFixed(0),
      `${p10.toFixed(0)} to ${p90.toFixed(0)}`,
      sum('refused'),
      sum('lost'),
    ]
  })
  return table([title, 'ms', 'p10 to p90', 'refused', 'lost otherwise'], rows)
}

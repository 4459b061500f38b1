/**
 * Those that keep workers running, side by side: what is lost in restarts, how long a crash and a save take, and what the parent costs.
 *
 * `node bench/supervisor.ts [--only rolling,crash,save,cost,throughput,pm2,…] [--restarts 5] [--trials 5] [--strict]`
 */
import { parseArgs } from 'node:util'
import { figure } from './figures.ts'
import { described, machine } from './machine.ts'
import { holds, line, type Requirement } from './requirement.ts'
import { cost, throughput, type Cost } from './supervisor/cost.ts'
import { crashed, rolled, rolledTable, waitedTable } from './supervisor/restart.ts'
import { RIVALS, STEWARD } from './supervisor/rivals.ts'
import { saved, WATCHERS } from './supervisor/save.ts'
import { table } from './table.ts'

const PACKAGES = ['pm2', 'tsx', 'nodemon'] as const
const CASES = ['rolling', 'crash', 'save', 'cost', 'throughput'] as const

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    restarts: { type: 'string', default: '5' },
    trials: { type: 'string', default: '5' },
    strict: { type: 'boolean', default: false },
  },
})
const RESTARTS = Number(values.restarts)
const TRIALS = Number(values.trials)
const words = values.only?.split(',') ?? []
const required: Requirement[] = []

await main()

async function main(): Promise<void> {
  checkWords()
  console.log(described(machine(PACKAGES)))
  const run = { rolling, crash, save, cost: costs, throughput: ours }
  for (const one of chosen(CASES.map((id) => ({ id })))) await run[one.id]()
  console.log()
  for (const one of required) console.log(line(one, (value) => value.toFixed(3)))
  const allHold = required.every((requirement) => holds(requirement) === true)
  if (values.strict && !allHold) process.exitCode = 1
}

function checkWords(): void {
  const known = new Set([...CASES, ...[...RIVALS, ...WATCHERS].map(({ id }) => id)])
  const unknown = words.find((word) => !known.has(word))
  if (unknown === undefined) return
  console.error(`Cannot run only "${unknown}": there are ${[...known].join(', ')}`)
  process.exit(2)
}

/** Those that `--only` names; all, when it names none of them. */
function chosen<T extends { id: string }>(all: readonly T[]): readonly T[] {
  const named = all.filter(({ id }) => words.includes(id))
  return named.length > 0 ? named : all
}

/** One after the other: what each of them came to. */
async function each<T extends { id: string; name: string }, R>(
  all: readonly T[],
  measure: (one: T) => Promise<R>,
): Promise<Map<T, R>> {
  const results = new Map<T, R>()
  for (const one of chosen(all)) results.set(one, await measure(one))
  return results
}

async function rolling(): Promise<void> {
  for (const workers of [2, 1]) {
    const results = await each(RIVALS, (rival) => rolled(rival, workers, RESTARTS))
    const title = `${RESTARTS} rolling restarts, ${workers === 1 ? 'one worker' : 'two workers'}: failed`
    console.log(`\n${rolledTable(results, title)}`)
    const own = results.get(STEWARD)
    const says = `requests lost in rolling restarts, of ${workers}`
    required.push({ says, measured: own && figure([own.loops.failed]), atMost: 0 })
  }
}

async function crash(): Promise<void> {
  const results = await each(RIVALS, (rival) => crashed(rival, TRIALS))
  console.log(`\n${waitedTable(results, 'SIGKILL of the only worker, to the next answer')}`)
  const own = results.get(STEWARD)
  const refused = own && figure([own.reduce((sum, one) => sum + one.refused, 0)])
  required.push(
    { says: 'connections refused after a SIGKILL', measured: refused, atMost: 0 },
    {
      says: 'ms from a SIGKILL to the next answer',
      measured: own && figure(own.map(({ took }) => took)),
      atMost: 1_000,
    },
  )
}

async function save(): Promise<void> {
  const results = await each(WATCHERS, (watcher) => saved(watcher, TRIALS))
  console.log(`\n${waitedTable(results, 'a save, to the first answer of the new code')}`)
  const own = [...results].find(([{ id }]) => id === 'steward')?.[1]
  const refused = own && figure([own.reduce((sum, one) => sum + one.refused + one.lost, 0)])
  required.push({ says: 'requests refused or lost in reloads', measured: refused, atMost: 0 })
}

async function costs(): Promise<void> {
  const results = await each(RIVALS, (rival) => cost(rival, 5))
  const head = ['two workers', 'CPU µs a connection', 'of the parent', 'RSS of the parent', 'CPU idle'] // oxfmt-ignore
  const row = (name: string, { all, parent, rss, idle }: Cost): string[] => [
    name,
    all.toFixed(0),
    parent.toFixed(1),
    `${rss.toFixed(0)} MB`,
    `${(idle * 100).toFixed(3)} %`,
  ]
  console.log(`\n${table(head, [...results].map(([{ name }, one]) => row(name, one)))}`) // oxfmt-ignore
  const own = results.get(STEWARD)
  required.push(
    { says: 'MB that the supervisor holds', measured: own && figure([own.rss]), atMost: 60 },
    { says: '% of a processor, idle', measured: own && figure([own.idle * 100]), atMost: 0.1 },
  )
}

async function ours(): Promise<void> {
  const measured = await throughput(11, 2)
  const says = 'throughput of one supervised worker, of one without, per CPU second'
  required.push({ says, measured, atLeast: 0.98 })
}

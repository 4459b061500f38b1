/**
 * What is lost between SIGTERM and the exit, and how long that takes: steward and others, each in a process of its own.
 *
 * `node bench/drain.ts [--json] [--strict] [--only idle,stoppable]`
 */
import { parseArgs } from 'node:util'
import { CASES } from './drain/cases.ts'
import { TIMEOUT } from './drain/place.ts'
import { cellsOf, codes, isLie, lost, lostIn, rows, took } from './drain/report.ts'
import { OURS, PACKAGES, RIVALS, type Rival } from './drain/rivals.ts'
import type { Case } from './drain/stage.ts'
import { runTrials, type Cell, type Results } from './drain/trials.ts'
import { figure } from './figures.ts'
import { described, machine } from './machine.ts'
import { holds, line, type Requirement } from './requirement.ts'
import { table } from './table.ts'

/** What cannot be finished within any timeout: whoever cuts it must say so. */
const CUT = ['never-answered', 'endless']

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    strict: { type: 'boolean', default: false },
    only: { type: 'string' },
  },
})

const words = options.only?.split(',') ?? []

await main()

async function main(): Promise<void> {
  checkWords()
  const rivals = chosen(RIVALS, ({ file }) => file)
  const results = await runTrials(
    chosen(CASES, ({ id }) => id),
    rivals,
  )
  const required = requirements(results)
  if (options.json) printJson(results, required)
  else print(results, rivals, required)
  const allHold = required.every((requirement) => holds(requirement) === true)
  if (options.strict && !allHold) process.exitCode = 1
}

/** Those that `--only` names; all, when it names none of them. */
function chosen<T>(all: readonly T[], name: (one: T) => string): readonly T[] {
  const named = all.filter((one) => words.includes(name(one)))
  return named.length > 0 ? named : all
}

function checkWords(): void {
  const known = [...CASES.map(({ id }) => id), ...RIVALS.map(({ file }) => file)]
  const unknown = words.find((word) => !known.includes(word))
  if (unknown === undefined) return
  console.error(`Cannot run only "${unknown}": there are ${known.join(', ')}`)
  process.exit(2)
}

/** Of ours alone, and of what was measured of them. */
function requirements(results: Results): Requirement[] {
  const own = (wanted: (one: Case) => boolean): Cell[] =>
    OURS.flatMap((rival) => cellsOf(results, rival, wanted))
  const finishable = own(({ id }) => !CUT.includes(id))
  const exits = own(({ id }) => id === 'nothing').flatMap((cell) => cell.exits)
  const lies = own(() => true).filter(isLie)
  return [
    {
      says: 'requests lost in all cases but the two that nobody can finish',
      measured: finishable.length > 0 ? figure([lostIn(finishable)]) : undefined,
      atMost: 0,
    },
    {
      says: 'cases with exit code 0 after a loss',
      measured: finishable.length > 0 ? figure([lies.length]) : undefined,
      atMost: 0,
    },
    {
      says: 'ms from the signal to the exit, with nothing in flight',
      measured: exits.length > 0 ? figure(exits.map(({ took }) => took)) : undefined,
      atMost: 100,
    },
  ]
}

function print(results: Results, rivals: readonly Rival[], required: readonly Requirement[]): void {
  console.log(described(machine(PACKAGES)))
  console.log(`Timeout ${TIMEOUT / 1_000} s, no lame duck, all on loopback\n`)
  const show = (title: string, cell: (cell: Cell) => string): void => {
    const head = [title, ...rivals.map(({ name }) => name)]
    console.log(`${table(head, rows(results, rivals, cell))}\n`)
  }
  show('lost', lost)
  show('ms to the exit', took)
  show('exit code', codes)
  for (const requirement of required) console.log(line(requirement, (ms) => ms.toFixed(0)))
}

function printJson(results: Results, required: readonly Requirement[]): void {
  const cases = [...results].map(([{ id, says }, cells]) => ({
    id,
    says,
    cells: [...cells].map(([{ name }, cell]) => ({ name, ...cell })),
  }))
  const requirements = required.map((requirement) => ({
    ...requirement,
    holds: holds(requirement),
  }))
  console.log(JSON.stringify({ machine: machine(PACKAGES), cases, requirements }, null, 2))
}

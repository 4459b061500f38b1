/**
 * What it costs to open a request's three resources and to close them again, ours and others'.
 *
 * `node bench/scope.ts [--json] [--strict] [--rounds 15] [--batch 100] [--only steward]`
 */
import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { figure, ratios, type Figure } from './figures.ts'
import { described, machine } from './machine.ts'
import { holds, line, type Requirement } from './requirement.ts'
import { awilixClassic, awilixProxy } from './scope/awilix.ts'
import { byHand, byHandSync, nothing } from './scope/by-hand.ts'
import { check } from './scope/check.ts'
import { effectLayer, effectScope } from './scope/effect.ts'
import { inferdi } from './scope/inferdi.ts'
import { inversify } from './scope/inversify.ts'
import { asyncStack, awaitUsing, using } from './scope/native.ts'
import { measure } from './scope/rounds.ts'
import { tsyringe } from './scope/tsyringe.ts'
import { typedInject } from './scope/typed-inject.ts'
import type { Variant } from './scope/variant.ts'
import { table } from './table.ts'

const PACKAGES = [
  'awilix',
  'tsyringe',
  'inversify',
  'typed-inject',
  '@inferdi/inferdi',
  'effect',
] as const

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    strict: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '15' },
    batch: { type: 'string', default: '100' },
    only: { type: 'string' },
  },
})

await main()

async function main(): Promise<void> {
  const variants = chosen([...rivals(), ...(await ours())])
  for (const variant of variants) await check(variant)
  const samples = await measure(variants, {
    rounds: Number(options.rounds),
    batch: Number(options.batch),
  })
  const rows = variants.map((variant) => row(variant, samples))
  const required = requirements(samples)
  if (options.json) printJson(rows, required)
  else print(rows, required)
  const allHold = required.every((requirement) => holds(requirement) === true)
  if (options.strict && !allHold) process.exitCode = 1
}

function rivals(): Variant[] {
  return [
    nothing,
    byHand,
    awaitUsing,
    asyncStack,
    inferdi,
    tsyringe,
    typedInject,
    awilixProxy,
    awilixClassic,
    effectScope,
    effectLayer,
    inversify,
    byHandSync,
    using,
  ]
}

/** Steward is measured as it is published: built. */
async function ours(): Promise<Variant[]> {
  if (!existsSync(new URL('../dist/index.js', import.meta.url))) {
    console.error('steward is not built (npm run build): measuring the others only')
    return []
  }
  const { steward, stewardSync } = await import('./scope/steward.ts')
  return [steward, stewardSync]
}

/** Those whose name holds one of the words of `--only`, beside the ones that all are compared with. */
function chosen(variants: readonly Variant[]): Variant[] {
  const words = options.only?.split(',')
  const bases: readonly Variant[] = [byHand, byHandSync]
  return variants.filter(
    (variant) =>
      bases.includes(variant) || (words?.some((word) => variant.name.includes(word)) ?? true),
  )
}

interface Row {
  readonly name: string
  /** Nanoseconds per request. */
  readonly time: Figure
  /** How many times as long as by hand, with the same kind of cleanup. */
  readonly ratio: Figure
}

type Samples = ReadonlyMap<string, readonly number[]>

function row({ name, cleanup }: Variant, samples: Samples): Row {
  const base = cleanup === 'sync' ? byHandSync.name : byHand.name
  const own = samples.get(name) ?? []
  return { name, time: figure(own), ratio: ratios(own, samples.get(base) ?? []) }
}

function requirements(samples: Samples): Requirement[] {
  const faster = fasterAwilix(samples)
  return [
    {
      // First set at 4: one bare async generator takes 2.3 of them, README.md has the floor
      says: 'steward with async generators takes at most 9 times as long as by hand',
      measured: compared(samples, 'steward, async generator', byHand.name),
      atMost: 9,
    },
    {
      // Against the same hand-written code, with its asynchronous cleanup: what steward does when it need not wait
      // First set at 2.5
      says: 'steward with sync generators takes at most 4 times as long as by hand',
      measured: compared(samples, 'steward, sync generator', byHand.name),
      atMost: 4,
    },
    {
      says: 'awilix (the faster of its modes) takes at least 4 times as long as steward',
      measured: compared(samples, faster, 'steward, async generator'),
      atLeast: 4,
    },
  ]
}

function compared(samples: Samples, name: string, base: string): Figure | undefined {
  const own = samples.get(name)
  const others = samples.get(base)
  return own && others && ratios(own, others)
}

function fasterAwilix(samples: Samples): string {
  const median = (name: string): number => {
    const own = samples.get(name)
    return own ? figure(own).median : Infinity
  }
  return median(awilixProxy.name) < median(awilixClassic.name)
    ? awilixProxy.name
    : awilixClassic.name
}

function print(rows: readonly Row[], required: readonly Requirement[]): void {
  console.log(
    `${described(machine(PACKAGES))}\n${options.rounds} rounds of ${options.batch} ms each\n`,
  )
  const head = ['a request scope of three resources', 'µs', 'p10 to p90', '× by hand', 'p10 to p90']
  console.log(table(head, rows.map(cells)))
  console.log()
  for (const requirement of required) console.log(line(requirement, times))
}

function cells({ name, time, ratio }: Row): string[] {
  return [
    name,
    micros(time.median),
    `${micros(time.p10)} to ${micros(time.p90)}`,
    ratio.median.toFixed(2),
    `${ratio.p10.toFixed(2)} to ${ratio.p90.toFixed(2)}`,
  ]
}

function micros(ns: number): string {
  return (ns / 1000).toFixed(2)
}

function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`
}

function printJson(rows: readonly Row[], required: readonly Requirement[]): void {
  const requirements = required.map((requirement) => ({
    ...requirement,
    holds: holds(requirement),
  }))
  console.log(JSON.stringify({ machine: machine(PACKAGES), rows, requirements }, null, 2))
}

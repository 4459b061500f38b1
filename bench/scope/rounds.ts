import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { shuffled } from '../figures.ts'
import { Pool } from './shop.ts'
import type { Prepared, Variant } from './variant.ts'

export interface Rounds {
  readonly rounds: number
  /** How long one batch of one variant should take, in milliseconds. */
  readonly batch: number
}

/** A variant that is ready, and what was measured of it: nanoseconds per request, one sample a round. */
interface Contender {
  readonly variant: Variant
  readonly prepared: Prepared
  readonly pool: Pool
  readonly samples: number[]
  count: number
}

/** Nanoseconds per request of each variant, by name, one a round. */
export async function measure(
  variants: readonly Variant[],
  { rounds, batch }: Rounds,
): Promise<Map<string, number[]>> {
  const contenders: Contender[] = []
  for (const variant of variants) contenders.push(await prepare(variant))
  for (const contender of contenders) await warmUp(contender, batch)
  for (let round = 0; round < rounds; round++) {
    for (const contender of shuffled(contenders)) await sample(contender)
  }
  for (const { prepared } of contenders) await prepared.close?.()
  return new Map(contenders.map(({ variant, samples }) => [variant.name, samples]))
}

async function prepare(variant: Variant): Promise<Contender> {
  const pool = new Pool()
  return { variant, prepared: await variant.prepare(pool), pool, samples: [], count: 100 }
}

/** Runs until the code is compiled, and finds out how many requests fill a batch. */
async function warmUp(contender: Contender, batch: number): Promise<void> {
  for (let round = 0; round < 6; round++) {
    const ms = await time(contender)
    contender.count = Math.max(100, Math.round((contender.count * batch) / ms))
  }
}

async function sample(contender: Contender): Promise<void> {
  const ms = await time(contender)
  contender.samples.push((ms * 1e6) / contender.count)
}

/**
 * One batch, after a turn of the event loop and a collection, so that nobody pays for the one before. The collection also
 * takes the compiler's knowledge of objects that do not exist at that moment, which would be gone for most of a short batch:
 * a part of it runs before the clock does.
 */
async function time({ variant, prepared, pool, count }: Contender): Promise<number> {
  await turn()
  collect()
  for (let i = 0; i < count / 2; i++) await prepared.request()
  const begun = pool.begun
  // Processor time and not the clock's: what else the machine does is no cost of the variant
  const start = process.cpuUsage()
  for (let i = 0; i < count; i++) await prepared.request()
  const { user, system } = process.cpuUsage(start)
  const ms = (user + system) / 1_000
  assert.equal(pool.ended, pool.begun, `"${variant.name}" left something open`)
  assert.equal(pool.begun - begun, variant.cleanup === 'none' ? 0 : count)
  return ms
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

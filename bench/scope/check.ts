import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { Pool } from './shop.ts'
import type { Prepared, Variant } from './variant.ts'

const LIFE = ['tx opened', 'user opened', 'orders opened', 'handled', 'tx closed']
const FAILURE = ['tx opened', 'user opened', 'orders opened', 'tx closed']

/** Throws unless the variant does the same work as the others: opens in order, closes once, also after a failure. */
export async function check(variant: Variant): Promise<void> {
  if (variant.cleanup === 'none') return
  const pool = new Pool()
  pool.slow = () => turn()
  const prepared = await variant.prepare(pool)
  try {
    await closesOnce(prepared, pool)
    await closesAfterFailure(prepared, pool)
    await keepsApart(prepared, pool)
  } catch (error) {
    throw new Error(`"${variant.name}" does not do the work`, { cause: error })
  } finally {
    await prepared.close?.()
  }
  assert.equal(pool.ended, pool.begun, 'the end of the app closed something again')
}

async function closesOnce({ request }: Prepared, pool: Pool): Promise<void> {
  pool.log = []
  assert.equal(await request(), 3)
  assert.deepEqual(pool.log, LIFE)
}

async function closesAfterFailure({ request }: Prepared, pool: Pool): Promise<void> {
  pool.log = []
  pool.broken = true
  await assert.rejects(request, /broken/)
  pool.broken = false
  assert.deepEqual(pool.log, FAILURE)
}

/** Two requests at once have a transaction each. */
async function keepsApart({ request }: Prepared, pool: Pool): Promise<void> {
  pool.log = []
  const begun = pool.begun
  await Promise.all([request(), request()])
  assert.equal(pool.begun, begun + 2)
  assert.equal(pool.ended, pool.begun)
}

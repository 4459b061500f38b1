import { once } from 'node:events'
import os from 'node:os'
import { shuffled } from '../figures.ts'
import { makeCredentials } from './credentials.ts'
import type { Outcome } from './outcome.ts'
import { Permits } from './permits.ts'
import type { Credentials } from './place.ts'
import type { Rival } from './rivals.ts'
import { Stage, type Case } from './stage.ts'
import type { Exit } from './subject.ts'

/** What one rival did in all trials of a case. */
export interface Cell {
  readonly outcomes: Outcome[]
  readonly exits: Exit[]
}

/** What was measured, by case and rival; a rival that cannot go through a case has no cell. */
export type Results = ReadonlyMap<Case, ReadonlyMap<Rival, Cell>>

/** One trial may take so long, in milliseconds: something is wrong with the bench otherwise. */
const LONGEST = 60_000

/**
 * Runs every trial of every case. As many run at a time as there are cores, but for those that measure a time; one that only
 * waits for something to end is in nobody's way.
 */
export async function runTrials(
  cases: readonly Case[],
  rivals: readonly Rival[],
): Promise<Results> {
  const permits = new Permits(os.availableParallelism())
  const credentials = makeCredentials()
  const results = new Map<Case, Map<Rival, Cell>>()
  const trials: Promise<void>[] = []
  for (const one of cases) {
    const { over } = one
    const able = over ? rivals.filter(({ serves }) => credentials && serves.includes(over)) : rivals
    const cells = new Map(able.map((rival): [Rival, Cell] => [rival, { outcomes: [], exits: [] }]))
    results.set(one, cells)
    for (let trial = 0; trial < one.trials; trial++) {
      for (const [rival, cell] of shuffled([...cells])) {
        const trying = { of: one, rival, cell, permits, credentials }
        trials.push(tryOnce(trying))
      }
    }
  }
  await Promise.all(trials)
  return results
}

interface Trying {
  readonly of: Case
  readonly rival: Rival
  readonly cell: Cell
  readonly permits: Permits
  readonly credentials: Credentials | undefined
}

async function tryOnce({ of, rival, cell, permits, credentials }: Trying): Promise<void> {
  const release = await permits.take(of.alone ? permits.total : 1)
  try {
    await using stage = new Stage(rival.file, of.over ? credentials : undefined, release)
    const late = AbortSignal.timeout(LONGEST)
    const isLate = once(late, 'abort').then(() => {
      throw new Error(`${rival.file} does not get through ${of.id}`)
    })
    cell.outcomes.push(...(await Promise.race([of.run(stage), isLate])))
    if (!of.alone) release()
    cell.exits.push(await stage.exit())
  } finally {
    release()
  }
}

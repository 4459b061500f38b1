import { atMost, type Deadline } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import type { Resources } from '../scope/resource.ts'
import { runIn } from '../scope/run.ts'
import type { Scope } from '../scope/scope.ts'
import type { UnderWay } from './under-way.ts'

/** What a piece of work is done in. */
export interface Workshop {
  readonly scope: Scope
  readonly underWay: UnderWay
  readonly emit: Emit
}

/** Does a piece of work outside a request, known by what it wants for as long as it is under way. */
export async function doWork<Result>(
  { scope, underWay }: Workshop,
  wanted: Resources,
  work: (values: never) => Result,
): Promise<Awaited<Result>> {
  const end = underWay.begin('background', `run({ ${Object.keys(wanted).join(', ')} })`)
  try {
    return await runIn(scope, wanted, work)
  } finally {
    end()
  }
}

/** Waits for work under way; what outlives the limit is named and abandoned. Gives the errors of that. */
export async function drainWork(
  { scope, underWay, emit }: Workshop,
  limit: Deadline,
): Promise<StewardError[]> {
  const idle = scope.idle()
  if (!idle || (await atMost(idle, limit)) === 'done') return []
  const errors = underWay.waiting('background').map(abandoned)
  for (const error of errors) emit({ type: 'error', message: error.message, error })
  return errors
}

function abandoned({ what, age }: { what: string; age: number }): StewardError {
  return new StewardError(
    'ERR_GRACE_SPENT',
    `Cannot wait for ${what}: it had not ended ${Math.round(age)} ms after it began, and the grace of the stop is spent; heed the signal, or raise the graceful timeout`,
  )
}

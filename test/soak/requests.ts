import type { Random } from '../helpers/random.ts'
import type { Asking } from '../helpers/strict-client.ts'
import { targetOf, type Wish } from './answers.ts'
import type { Way } from './generations.ts'
import type { Ledger } from './ledger.ts'

/** What the clients of a soak share. */
export interface Load {
  readonly seed: number
  readonly port: number
  readonly way: Way
  readonly ledger: Ledger
  /** Aborted when no more is to be asked. */
  readonly ending: AbortSignal
}

/** Who makes one connection after the other. */
export interface Caller {
  readonly random: Random
  readonly load: Load
  nextId(): string
}

/** How long a client waits for an answer: longer than the longest grace. */
export const PATIENCE = 15_000

/** A request, and how it is to be answered. */
export type Request = readonly [asking: Asking, wish: Wish]

/** A request as random as they come, but for what is given. */
export function randomRequest(
  random: Random,
  given: Partial<Asking>,
  wishes: Partial<Wish> & Pick<Wish, 'id'>,
): Request {
  const wish: Wish = {
    wait: random.chance(0.7) ? random.int(0, 15) : random.int(20, 500),
    size: random.chance(0.8) ? random.int(0, 2_000) : random.int(2_000, 80_000),
    parts: random.chance(0.7) ? 1 : random.int(2, 5),
    gap: random.chance(0.7) ? 0 : random.int(1, 80),
    reads: random.chance(0.85) ? 'all' : 'nothing',
    commits: random.chance(0.3),
    ...wishes,
  }
  const drawn: Partial<Asking> = random.chance(0.5)
    ? { method: 'POST', body: Buffer.alloc(random.int(0, 5_000), wish.id) }
    : { method: random.pick(['GET', 'GET', 'GET', 'HEAD', 'DELETE']) }
  return [{ ...(given.method ? {} : drawn), ...given, target: targetOf(wish) }, wish]
}

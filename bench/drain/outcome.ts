/**
 * What became of one request, as its client saw it. Lost is a request of which a byte was written and that has no complete
 * answer: `reset` by the server; `ended` by its FIN before a byte of the answer; `truncated` in the middle of the answer;
 * `cut off` before the client had written all of it; `executed` by a handler, but not answered; `silent` until the
 * client gave up. So is one that was `refused`, since nobody listened where somebody should. The others are not lost: of a request that was `turned away` nothing was written, since its client knew
 * that the connection is closed; a status other than 200 is an answer; a request that its client never completes can only
 * be answered so, or its connection be `closed` or `left open`; and one that was `reset while idle` had no request on it.
 */
export type Outcome =
  | 'answered'
  | 'reset'
  | 'ended'
  | 'truncated'
  | 'cut off'
  | 'executed'
  | 'silent'
  | 'refused'
  | 'turned away'
  | 'closed'
  | 'left open'
  | 'reset while idle'
  | `status ${number}`

const LOST: ReadonlySet<Outcome> = new Set([
  'reset',
  'ended',
  'truncated',
  'cut off',
  'executed',
  'silent',
  'refused',
])

export function isLost(outcome: Outcome): boolean {
  return LOST.has(outcome)
}

/** How many requests were lost, of how many. */
export interface Count {
  readonly total: number
  readonly lost: number
  /** How often there was what, but for `answered`. */
  readonly kinds: ReadonlyMap<Outcome, number>
}

export function count(outcomes: readonly Outcome[]): Count {
  const kinds = new Map<Outcome, number>()
  for (const outcome of outcomes) {
    if (outcome !== 'answered') kinds.set(outcome, (kinds.get(outcome) ?? 0) + 1)
  }
  return { total: outcomes.length, lost: outcomes.filter(isLost).length, kinds }
}

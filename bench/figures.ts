/** What many measurements come to: the middle one, and the span that holds eight of ten. */
export interface Figure {
  readonly median: number
  readonly p10: number
  readonly p90: number
}

export function figure(samples: readonly number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b)
  return { median: quantile(sorted, 0.5), p10: quantile(sorted, 0.1), p90: quantile(sorted, 0.9) }
}

/** Between two samples, the value in proportion. */
function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q
  const below = sorted[Math.floor(at)]
  const above = sorted[Math.ceil(at)]
  if (below === undefined || above === undefined) throw new RangeError('No samples were taken')
  return below + (above - below) * (at - Math.floor(at))
}

/**
 * The ratios of two series that were measured in the same rounds. Each round is compared with itself, so that a machine
 * that is slow for a while slows both sides of the comparison.
 */
export function ratios(samples: readonly number[], base: readonly number[]): Figure {
  return figure(samples.map((sample, round) => sample / (base[round] ?? Number.NaN)))
}

/** A copy in random order. */
export function shuffled<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item)
}

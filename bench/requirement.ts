import type { Figure } from './figures.ts'

/** A promise of ours about a ratio. */
export interface Requirement {
  readonly says: string
  /** `undefined` when one of the two sides was not measured. */
  readonly measured: Figure | undefined
  readonly atMost?: number
  readonly atLeast?: number
}

export function holds({ measured, atMost, atLeast }: Requirement): boolean | undefined {
  if (!measured) return undefined
  return measured.median <= (atMost ?? Infinity) && measured.median >= (atLeast ?? -Infinity)
}

/** One line: `met` or `MISSED`, what is promised, and what was measured. */
export function line(requirement: Requirement, format: (ratio: number) => string): string {
  const { says, measured } = requirement
  if (!measured) return `not measured  ${says}`
  const verdict = holds(requirement) ? 'met   ' : 'MISSED'
  const { median, p10, p90 } = measured
  const span = p10 === p90 ? '' : ` (${format(p10)} to ${format(p90)})`
  return `${verdict}        ${says}: ${format(median)}${span}`
}

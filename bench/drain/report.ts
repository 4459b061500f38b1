import { figure } from '../figures.ts'
import { count, isLost, type Outcome } from './outcome.ts'
import type { Rival } from './rivals.ts'
import type { Case } from './stage.ts'
import type { Cell, Results } from './trials.ts'

type Show = (cell: Cell) => string

/** A row for each case, a column for each rival. */
export function rows(results: Results, rivals: readonly Rival[], show: Show): string[][] {
  return [...results].map(([one, cells]) => [one.says, ...rivals.map(shown(cells, show))])
}

function shown(cells: ReadonlyMap<Rival, Cell>, show: Show) {
  return (rival: Rival): string => {
    const cell = cells.get(rival)
    return cell ? show(cell) : '–'
  }
}

/** `0/60`, `60/60 reset`, `48/60: 40 reset, 8 ended`; what was not lost in brackets: `10/150 ended (140 turned away)`. */
export function lost({ outcomes }: Cell): string {
  const { total, lost, kinds } = count(outcomes)
  if (total === 0) return ''
  const sorted = [...kinds].sort(([, a], [, b]) => b - a)
  const losses = sorted.filter(([kind]) => isLost(kind))
  const others = sorted.filter(([kind]) => !isLost(kind))
  const kind = losses.length === 1 ? ` ${losses[0]?.[0]}` : listed(losses, ': ', '')
  return `${lost}/${total}${kind}${listed(others, ' (', ')')}`
}

function listed(kinds: [Outcome, number][], before: string, after: string): string {
  if (kinds.length === 0) return ''
  return before + kinds.map(([kind, times]) => `${times} ${kind}`).join(', ') + after
}

/** Milliseconds from the signal to the exit, the middle one; how often it had to be killed instead. */
export function took({ exits }: Cell): string {
  const ended = exits.filter(({ code }) => code !== 'killed')
  if (ended.length === 0) return 'never'
  const ms = figure(ended.map(({ took }) => took)).median.toFixed(0)
  return ended.length === exits.length ? ms : `${ms}, ${exits.length - ended.length} × never`
}

/** Every exit code there was; with `!` where it was 0 although something was lost. */
export function codes(cell: Cell): string {
  const all = new Set(cell.exits.map(({ code }) => code))
  return [...all].map((code) => (code === 0 && isLie(cell) ? '0 !' : String(code))).join(', ')
}

/** Did a process exit with 0 in a case in which something was lost? */
export function isLie({ outcomes, exits }: Cell): boolean {
  return count(outcomes).lost > 0 && exits.some(({ code }) => code === 0)
}

/** How many requests were lost in all of these. */
export function lostIn(cells: readonly Cell[]): number {
  return cells.reduce((all, { outcomes }) => all + count(outcomes).lost, 0)
}

/** What one rival did in the cases that are wanted, and that it can go through. */
export function cellsOf(results: Results, rival: Rival, wanted: (one: Case) => boolean): Cell[] {
  const own = [...results].filter(([one]) => wanted(one)).map(([, cells]) => cells.get(rival))
  return own.filter((cell) => cell !== undefined)
}

import { styleText } from 'node:util'
import type { Status, WorkerStatus } from '../supervisor/status.ts'

type Style = Parameters<typeof styleText>[0]

const COLOURS: Readonly<Record<string, Style>> = {
  starting: 'yellow', running: 'green', ready: 'green', stopping: 'yellow', closed: 'dim', down: 'red',
} // oxfmt-ignore

/** One column: its title, and what stands in it. */
interface Column {
  readonly title: string
  readonly of: (worker: WorkerStatus) => string
  /** Words begin at the left, numbers end at the right. */
  readonly words?: boolean
}

const COLUMNS: readonly Column[] = [
  { title: 'SLOT', of: ({ slot }) => `${slot}` },
  { title: 'PID', of: ({ pid }) => `${pid ?? '-'}` },
  { title: 'GENERATION', of: ({ generation }) => `${generation ?? '-'}` },
  { title: 'STATE', of: ({ state }) => state, words: true },
  { title: 'AGE', of: ({ age }) => (age === undefined ? '-' : duration(age)) },
  { title: 'RESTARTS', of: ({ restarts }) => `${restarts}` },
  { title: 'MEMORY', of: ({ rss }) => (rss === undefined ? '-' : megabytes(rss)) },
]

/** A service and its workers, for a person. Colours where the stream shows any. */
export function statusTable(status: Status, stream: NodeJS.WriteStream): string {
  const paint = (style: Style, text: string): string => styleText(style, text, { stream })
  const { service, urls, state, pid, since, age, workers } = status
  const head = [
    paint('bold', service),
    paint('cyan', urls.join(', ')),
    paint(COLOURS[state]!, state),
  ]
  const when = `since ${localTime(since)} (${duration(age)})`
  const begin = `${head.join('  ')}  ${paint('dim', `process ${pid}, ${when}`)}`
  const rows = workers.map((worker) => rowOf(worker, widthsOf(workers), paint))
  const titles = COLUMNS.map((column, index) =>
    aligned(column, column.title, widthsOf(workers)[index]!),
  )
  return [begin, '', paint('dim', `  ${titles.join('  ')}`.trimEnd()), ...rows, ...notes(status)]
    .map((line) => `${line}\n`)
    .join('')
}

function rowOf(
  worker: WorkerStatus,
  widths: readonly number[],
  paint: (style: Style, text: string) => string,
): string {
  const cells = COLUMNS.map((column, index) => {
    const cell = aligned(column, column.of(worker), widths[index]!)
    return column.words ? paint(COLOURS[worker.state]!, cell) : cell
  })
  return `  ${cells.join('  ')}`
}

function widthsOf(workers: readonly WorkerStatus[]): number[] {
  return COLUMNS.map(({ title, of }) =>
    Math.max(title.length, ...workers.map((worker) => of(worker).length)),
  )
}

function aligned({ words }: Column, text: string, width: number): string {
  return words ? text.padEnd(width) : text.padStart(width)
}

/** What a table of workers does not say. */
function notes({ rolling, failed }: Status): string[] {
  const lines: string[] = []
  if (rolling) {
    lines.push(`reloading to generation ${rolling.generation}, for ${duration(rolling.age)}`)
  }
  if (failed) lines.push(`the reload to generation ${failed.generation} failed: ${failed.reason}`)
  return lines.length > 0 ? ['', ...lines] : []
}

/** In the two largest units: `3d 4h`, `12m 5s`, `8s`. */
function duration(ms: number): string {
  const seconds = Math.floor(ms / 1_000)
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const
  const first = parts.findIndex(([count]) => count > 0)
  if (first < 0) return '0s'
  const shown = parts.slice(first, first + 2)
  return shown.map(([count, unit]) => `${count}${unit}`).join(' ')
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MB`
}

/** `2026-01-31 14:05:09`, where the reader is. */
function localTime(iso: string): string {
  return new Date(iso).toLocaleString('sv-SE')
}

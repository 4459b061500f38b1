import { styleText } from 'node:util'
import type { Figures } from '../supervisor/messages.ts'
import type { Status, WorkerStatus } from '../supervisor/status.ts'

type Style = Parameters<typeof styleText>[0]

const COLOURS: Readonly<Record<string, Style>> = {
  starting: 'yellow', running: 'green', ready: 'green', stopping: 'yellow', closed: 'dim', down: 'red', hung: 'red',
} // oxfmt-ignore

/** One column: its title, and what stands in it. */
interface Column {
  readonly title: string
  readonly of: (worker: WorkerStatus) => string
  /** Words begin at the left, numbers end at the right. */
  readonly words?: boolean
  /** How it stands out, if it does. */
  readonly style?: (worker: WorkerStatus) => Style | undefined
}

/** From here on the event loop is nearly always busy, as a share; and what waits for it waits noticeably, in milliseconds. */
const BUSY = 0.9
const DELAYED = 100

const COLUMNS: readonly Column[] = [
  { title: 'SLOT', of: ({ slot }) => `${slot}` },
  { title: 'PID', of: ({ pid }) => `${pid ?? '-'}` },
  { title: 'GEN', of: ({ generation }) => `${generation ?? '-'}` },
  { title: 'STATE', of: ({ state }) => state, words: true, style: ({ state }) => COLOURS[state] },
  { title: 'AGE', of: ({ age }) => (age === undefined ? '-' : duration(age)) },
  { title: 'RESTARTS', of: ({ restarts }) => `${restarts}` },
  figure('SERVED', ({ served }) => `${served}`),
  figure('CONNS', ({ connections }) => `${connections}`),
  figure('REQS', ({ underWay }) => `${underWay}`),
  figure('OLDEST', ({ underWay, oldest }) => (underWay > 0 ? short(oldest) : '-')),
  {
    ...figure('LOOP', ({ busy }) => `${Math.round(busy * 100)}%`),
    style: ({ figures }) => (figures && figures.busy >= BUSY ? 'red' : undefined),
  },
  {
    ...figure('DELAY', ({ delay }) => short(delay)),
    style: ({ figures }) => (figures && figures.delay >= DELAYED ? 'yellow' : undefined),
  },
  figure('HEAP', ({ heap }) => megabytes(heap)),
  figure('MEMORY', ({ rss }) => megabytes(rss)),
]

/** A column of what the workers tell themselves. */
function figure(title: string, of: (figures: Figures) => string): Column {
  return { title, of: ({ figures }) => (figures === undefined ? '-' : of(figures)) }
}

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
    const style = column.style?.(worker)
    return style === undefined ? cell : paint(style, cell)
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

/** `12ms`, `3.4s`, `5m 2s`. */
function short(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`
  return ms < 10_000 ? `${(ms / 1_000).toFixed(1)}s` : duration(ms)
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(1)} MB`
}

/** `2026-01-31 14:05:09`, where the reader is. */
function localTime(iso: string): string {
  return new Date(iso).toLocaleString('sv-SE')
}

import type { Asked, StrictClient } from '../helpers/strict-client.ts'
import { answerTo, type Wish } from './answers.ts'
import { complaintsAbout, type Generation, type Generations } from './generations.ts'

/** A connection of the soak, and what was wished for on it. */
export interface Visit {
  readonly behaviour: string
  readonly client: Witness
  readonly wishes: Map<Asked, Wish>
}

/** What a client has seen, whatever protocol it speaks. */
export type Witness = Pick<StrictClient, 'asked' | 'extra' | 'trace' | 'isHalfClosed'>

/** What the service said of a request. */
interface Said {
  executed: number
  committed: boolean
  cut: 'answered' | 'cut' | 'abandoned' | undefined
  by: number
}

const NOTHING: Said = { executed: 0, committed: false, cut: undefined, by: -1 }

/**
 * Compares what the clients have seen with what the service said it did: executed ⇔ answered, or reported as cut, or the client
 * itself left. A connection is looked at once every process that it may have come to has ended.
 */
export class Ledger {
  readonly violations: string[] = []
  /** How many requests had which fate. */
  readonly tally: Record<string, number> = {}
  readonly #generations: Generations
  /** Connections that are over, each with the newest process at that time. */
  #visits: { visit: Visit; newest: number }[] = []
  readonly #said = new Map<string, Said>()
  readonly #read = new Set<number>()
  /** Processes whose grace was spent, so that they have ended connections on which something was under way. */
  readonly #spent = new Set<number>()

  constructor(generations: Generations) {
    this.#generations = generations
  }

  /** A connection is over. */
  add(visit: Visit): void {
    this.#visits.push({ visit, newest: this.#generations.newest })
  }

  /** A connection was not even made: a handshake may be ended by a stop, but none is refused. */
  refused(
    behaviour: string,
    { error, ...when }: { error: unknown; at: number; until: number },
  ): void {
    this.#count('refused')
    const isRefused = (error as { code?: string }).code === 'ECONNREFUSED'
    if (!isRefused && this.#generations.way.tls && this.#generations.mayPart(when)) return
    this.violations.push(`${behaviour}: a connection was refused: ${String(error)}`)
  }

  /** Reads what the processes that have ended told, and settles what can be settled. */
  settle(): void {
    for (const generation of this.#generations.all) this.#readLog(generation)
    const isOver = ({ newest }: { newest: number }): boolean =>
      this.#generations.all.every(({ number }) => number > newest || this.#read.has(number))
    const over = this.#visits.filter(isOver)
    this.#visits = this.#visits.filter((entry) => !isOver(entry))
    for (const { visit } of over) this.#settleVisit(visit)
  }

  #readLog(generation: Generation): void {
    if (generation.exit === undefined || this.#read.has(generation.number)) return
    this.#read.add(generation.number)
    this.violations.push(...complaintsAbout(generation))
    for (const line of generation.program.lines) {
      const id = String(line['id'] ?? String(line['url']).split('/')[2])
      if (line.event === 'app.executed') this.#saidOf(id, generation).executed++
      else if (line.event === 'request.cut') {
        this.#saidOf(id, generation).cut = line['answered'] === true ? 'answered' : 'cut'
      } else if (line.event === 'handler.abandoned') {
        this.#saidOf(id, generation).cut = 'abandoned'
        this.#spent.add(generation.number)
      } else if (line.event === 'app.committed') {
        for (const one of line['ids'] as string[]) this.#saidOf(one, generation).committed = true
      }
    }
    // Long soaks would keep millions
    generation.program.lines.length = 0
    generation.program.stdout = ''
  }

  #saidOf(id: string, { number }: Generation): Said {
    const said = this.#said.get(id) ?? { ...NOTHING, by: number }
    this.#said.set(id, said)
    return said
  }

  #settleVisit(visit: Visit): void {
    const { client, wishes } = visit
    const wrongs: string[] = []
    for (const asked of client.asked) {
      const wish = wishes.get(asked)!
      const said = this.#said.get(wish.id) ?? NOTHING
      const status = asked.answer ? ` ${asked.answer.status}` : ''
      this.#count(
        `${asked.fate}${status}${said.cut ? `, ${said.cut === 'answered' ? 'cut with an answer' : said.cut}` : ''}`,
      )
      const wrong = wrongWith({
        visit,
        asked,
        wish,
        said,
        mayPart: this.#generations.mayPart(asked),
        mayLose: this.#spent.has(said.by),
      })
      const { written, fate, idle } = asked
      const facts = { ...wish, written, fate, idle, ...said }
      if (wrong !== undefined) wrongs.push(`${wrong}: ${JSON.stringify(facts)}`)
      this.#said.delete(wish.id)
    }
    if (client.extra) wrongs.push(`came unasked: ${JSON.stringify(client.extra.slice(0, 200))}`)
    if (wrongs.length === 0) return
    for (const asked of client.asked) wrongs.push(this.#generations.around(asked))
    this.violations.push([visit.behaviour, ...wrongs, ...client.trace].join('\n    '))
  }

  #count(what: string): void {
    this.tally[what] = (this.tally[what] ?? 0) + 1
  }
}

interface Case {
  readonly visit: Visit
  readonly asked: Asked
  readonly wish: Wish
  readonly said: Said
  /** Might its connection have been closed by then though it was idle? */
  readonly mayPart: boolean
  /**
   * Might its connection have been ended with others on it, once the grace was spent? Where bytes of the client are unread then, the
   * system resets it, and what was sent before may be lost on its way: no process can see that.
   */
  readonly mayLose: boolean
}

/** What breaks the invariant; `undefined`: nothing. */
function wrongWith(one: Case): string | undefined {
  const { asked, said } = one
  if (said.executed > 1) return `executed ${said.executed} times`
  switch (asked.fate) {
    case 'answered':
      return wrongAnswer(one)
    case 'left':
      return undefined
    case 'malformed':
    case 'unanswered':
    case undefined:
      return `${asked.fate}`
    case 'behind a close':
    case 'fin':
    case 'reset':
    case 'truncated':
      return wrongLoss(one)
  }
}

function wrongAnswer({ asked, wish, said, visit }: Case): string | undefined {
  const { status, body } = asked.answer!
  if (status === 503) {
    if (said.committed) return 'committed, and answered 503'
    return said.cut ? undefined : 'answered 503, and not reported as cut'
  }
  if (said.cut === 'answered' || said.cut === 'cut') {
    return `reported as cut, but answered ${status}`
  }
  // Half of a request, when the time for it is over
  if (status === 408) return said.executed > 0 ? 'executed, and answered 408' : undefined
  if (status !== 200) return `answered ${status}`
  if (said.executed === 0) return 'answered, and not executed'
  if (wish.commits && !said.committed) return 'answered, and not committed'
  if (asked.asking.method === 'HEAD') return undefined
  const read = wish.reads === 'all' ? (asked.asking.body ?? Buffer.alloc(0)) : Buffer.alloc(0)
  if (visit.client.asked.length > 0 && !body.equals(answerTo(wish, read))) {
    return `answered with ${body.length} bytes that are not its own`
  }
  return undefined
}

/** Nothing, or not all of an answer came, and the client did not leave. */
function wrongLoss({ visit, asked, said, mayPart, mayLose }: Case): string | undefined {
  const { isHalfClosed } = visit.client
  // What was answered in its place may go with the connection, when the grace is spent
  if (mayLose && isReset(asked)) return undefined
  if (said.cut === 'answered' && !isHalfClosed) return `said to be answered, but ${asked.fate}`
  if (said.cut) return undefined
  if (said.executed > 0) return `executed, not answered (${asked.fate}), and not reported as cut`
  if (asked.fate === 'truncated') return 'truncated, though nothing was executed'
  if (asked.interim.includes(100)) return 'told to continue, and then nothing'
  if (asked.fate === 'behind a close' || asked.written !== 'all') return undefined
  return mayPart ? undefined : `not served (${asked.fate}), and no stop may have been the reason`
}

function isReset({ fate }: Asked): boolean {
  return fate === 'reset' || fate === 'truncated'
}

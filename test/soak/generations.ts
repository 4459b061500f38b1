import { once } from 'node:events'
import net from 'node:net'
import { Program, type Line } from '../helpers/program.ts'
import type { Random } from '../helpers/random.ts'
import { pause } from '../helpers/pause.ts'
import { within } from '../helpers/within.ts'

/** How clients reach the service. */
export interface Way {
  readonly name: string
  readonly tls: boolean
  /** Does it speak HTTP/2 as well? */
  readonly http2: boolean
  /** The options of `steward serve` that it takes. */
  readonly args: readonly string[]
}

export const PLAIN: Way = { name: 'plain', tls: false, http2: false, args: [] }

/** How much later than its exit the ends of a process's connections may be heard of, in milliseconds: of a slow machine. */
const LATE = 250

/** How one process of the service ends. */
export interface Plan {
  readonly app: 'node' | 'hono'
  /** The graceful timeout, in milliseconds. */
  readonly grace: number
  readonly drainDelay: number
  /** Is the next one ready before this one is stopped, or do connections wait in the queue meanwhile? */
  readonly handover: 'next first' | 'gap'
  /** A second signal: sent twice, which does not count, or one that forces. */
  readonly second: 'none' | 'twice' | 'forces'
}

/** One process of the service. */
export interface Generation {
  readonly number: number
  readonly plan: Plan
  readonly program: Program
  /** When it was told to stop; `undefined` while it serves. */
  stoppedAt: number | undefined
  /** From when on it may close connections that a request is on its way to. */
  impatientAt: number
  exit: { code: number | null; signal: NodeJS.Signals | null; took: number } | undefined
}

/** How a process is found to have misbehaved: a sentence for each. */
export type Complaints = string[]

/**
 * A service that is stopped and started again and again, each process on the same listening socket, so that the load goes on.
 */
export class Generations implements Disposable {
  readonly all: Generation[] = []
  readonly #socket = new net.BoundSocket({ host: '127.0.0.1' })
  readonly way: Way
  readonly #random: Random

  constructor(random: Random, way = PLAIN) {
    this.#random = random
    this.way = way
  }

  get port(): number {
    return this.#socket.address().port
  }

  /** The number of the newest. */
  get newest(): number {
    return this.all.length - 1
  }

  async start(plan: Plan = this.#plan()): Promise<Generation> {
    const args = ['--fd', '3', '--log', 'json', '--graceful-timeout', `${plan.grace}ms`]
    const delay = plan.drainDelay > 0 ? ['--drain-delay', `${plan.drainDelay}ms`] : []
    const program = Program.serve('soaked.ts', [...args, ...delay, ...this.way.args], {
      env: { APP: plan.app },
      stdio: ['ignore', 'pipe', 'pipe', this.#socket.fd()],
    })
    const generation: Generation = {
      number: this.all.length,
      plan,
      program,
      stoppedAt: undefined,
      impatientAt: Infinity,
      exit: undefined,
    }
    this.all.push(generation)
    await program.event('service.ready')
    return generation
  }

  /** Stops one as its plan says, and waits for its end. */
  async stop(generation: Generation): Promise<void> {
    const { program, plan } = generation
    const stoppedAt = performance.now()
    generation.stoppedAt = stoppedAt
    generation.impatientAt = stoppedAt + impatienceOf(plan)
    const ended = once(program.child, 'exit').then(() => performance.now() - stoppedAt)
    program.signal('SIGTERM')
    if (plan.second !== 'none') void this.#signalAgain(generation)
    const took = await within(plan.grace + 15_000, ended, `the end of ${describe(generation)}`)
    generation.exit = { ...(await program.exit()), took }
  }

  /** The next one takes over from the last. */
  async replace(last: Generation): Promise<Generation> {
    if (last.plan.handover === 'gap') {
      const stopped = this.stop(last)
      await stopped
      return this.start()
    }
    const next = await this.start()
    await pause(this.#random.int(0, 300))
    await this.stop(last)
    return next
  }

  /** Was a process closing idle connections at some time between the two? It may have had that one, from the queue. */
  mayPart({ at, until }: { at: number; until: number }): boolean {
    return this.all.some(
      ({ impatientAt, stoppedAt, exit }) =>
        until >= impatientAt && (exit === undefined || at <= stoppedAt! + exit.took + LATE),
    )
  }

  /** What was going on between the two, for whoever looks into a violation. */
  around({ at, until }: { at: number; until: number }): string {
    const near = this.all.filter(({ stoppedAt }) => stoppedAt && Math.abs(stoppedAt - at) < 10_000)
    const stops = near.map(({ number, stoppedAt, exit }) => {
      const [begin, end] = [stoppedAt! - at, stoppedAt! + (exit?.took ?? Infinity) - at]
      return `process ${number} from ${begin.toFixed(0)} to ${end.toFixed(0)} ms`
    })
    return `${(until - at).toFixed(0)} ms; stops: ${stops.join(', ') || 'none'}`
  }

  [Symbol.dispose](): void {
    this.#socket.close()
    for (const { program } of this.all) program[Symbol.dispose]()
  }

  async #signalAgain({ program, plan }: Generation): Promise<void> {
    if (plan.second === 'twice') {
      await pause(this.#random.int(0, 300))
      program.signal('SIGTERM')
    } else {
      await pause(this.#random.int(0, 400))
      program.signal('SIGINT')
    }
  }

  #plan(): Plan {
    const random = this.#random
    const isShort = random.chance(0.35)
    return {
      app: random.pick(['node', 'hono']),
      grace: isShort ? random.pick([100, 300, 800]) : 6_000,
      drainDelay: isShort || random.chance(0.7) ? 0 : random.int(50, 800),
      handover: random.chance(0.75) ? 'next first' : 'gap',
      second: random.chance(0.7) ? 'none' : random.pick(['twice', 'forces']),
    }
  }
}

/** How long after its stop a process serves whatever comes on connections that it has, in milliseconds. */
function impatienceOf({ grace, second }: Plan): number {
  if (second === 'forces') return 0
  const reserve = Math.min(5_000, Math.max(grace / 5, Math.min(1_000, grace / 2)))
  // The idle window of a whole stop, unless the drain ends before
  return Math.min(900, (grace - reserve - Math.min(1_000, grace / 10)) * 0.8)
}

/** What is wrong with how a process ended, whatever its clients have seen. */
export function complaintsAbout(generation: Generation): Complaints {
  const { program, plan, exit } = generation
  const complaints: Complaints = []
  const name = describe(generation)
  const count = (event: string): number =>
    program.lines.filter((line) => line.event === event).length
  const cuts = count('request.cut') + count('handler.abandoned')
  const { code, signal, took } = exit!
  const codeWanted = cuts > 0 ? 1 : 0
  if (signal !== null) complaints.push(`${name} was ended by ${signal}`)
  else if (code !== codeWanted) {
    complaints.push(`${name} exited with ${code} after ${cuts} cuts; ${problems(program)}`)
  }
  // What hangs, the watchdog kills a second after its grace; the rest is the machine's
  if (took > plan.grace + 5_000) {
    complaints.push(`${name} took ${took.toFixed(0)} ms; ${problems(program)}`)
  }
  const closed = program.lines.find(({ event }) => event === 'service.closed')
  if (closed) complaints.push(...miscounts(generation, closed))
  else complaints.push(`${name} did not tell that it closed`)
  if (program.stderr !== '') complaints.push(`${name} wrote ${program.stderr}`)
  return complaints
}

function miscounts(generation: Generation, closed: Line): Complaints {
  const { lines } = generation.program
  const name = describe(generation)
  const scopes = lines.find(({ event }) => event === 'app.scopes')
  const abandoned = lines.filter(({ event }) => event === 'handler.abandoned').length
  const open = Number(scopes?.['opened']) - Number(scopes?.['closed'])
  const { requests } = closed['served'] as { requests: number }
  const executed = lines.filter(({ event }) => event === 'app.executed').length
  const complaints: Complaints = []
  // Each request of the soak has one scope of its own, and one of its handler if it commits
  if (!(open >= 0 && open <= 2 * abandoned)) {
    complaints.push(`${name} left ${open} scopes open, with ${abandoned} handlers abandoned`)
  }
  if (executed > requests) complaints.push(`${name} executed ${executed}, and counted ${requests}`)
  return complaints
}

/** What it said of itself that is no fact of normal life. */
function problems(program: Program): string {
  const unusual = /^(error|warning|process\.held|hook\.late|resource\.late|drain\.waiting)$/
  const told = program.lines.filter(({ event }) => unusual.test(event))
  return `it told ${JSON.stringify(told.slice(0, 5))}`
}

export function describe({ number, plan, program }: Generation): string {
  return `process ${number} (${program.child.pid}, ${JSON.stringify(plan)})`
}

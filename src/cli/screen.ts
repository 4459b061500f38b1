import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import { blamesClient, describeError, isStewardError, withoutSecrets } from '../base/errors.ts'
import type { OfWorker, Served, ServiceEvent, StageTimes, Waiting } from '../base/events.ts'
import { ofUserCode } from './fatal.ts'

type Style = Parameters<typeof styleText>[0]

/** What a line begins with. */
const SIGNS = {
  good: ['green', '✓'],
  quiet: ['dim', '✓'],
  bad: ['red', '✗'],
  note: ['yellow', '!'],
  wait: ['yellow', '…'],
} as const

/** How many lines of the stack of a blocked worker are shown: all are in the log. */
const MOST_FRAMES = 8

/** What a worker shows of its own: its supervisor tells how it comes and goes. */
const TROUBLE = new Set<ServiceEvent['type']>([
  'start.waiting', 'resource.failed', 'resource.late', 'drain.waiting', 'request.cut', 'handler.abandoned',
  'socket.lost', 'request.failed', 'process.held', 'warning', 'error',
]) // oxfmt-ignore

/** What the supervisor of a single worker leaves to that one. */
const LIFE = new Set<ServiceEvent['type']>([
  'supervisor.listening', 'supervisor.stopping', 'supervisor.closed', 'supervisor.forced', 'worker.ready',
]) // oxfmt-ignore

/** What a worker does not show while its code is being developed: a reload cuts, and is over in a moment. */
const PART_OF_RELOADS = new Set<ServiceEvent['type']>([
  'drain.waiting', 'request.cut', 'handler.abandoned', 'process.held',
]) // oxfmt-ignore

/**
 * What a process shows: the whole of a service; only its trouble, as one of several workers, of which it gives the number; what happens
 * around a single worker, which shows the whole; or the reloads of a service, of which its workers leave the rest to it.
 */
export type Role = 'whole' | 'around' | 'reloading' | 'reloaded' | number

/**
 * Shows a service on a terminal: what opens, where it is, what a stop waits for, and how it ended. Of several workers, each shows
 * only its trouble, with its number, and their supervisor the rest; a single one shows what it would show without a supervisor.
 */
export class Screen {
  readonly #module: string
  readonly #output: WriteStream
  readonly #urls: string[] = []
  #wasReady = false
  readonly #role: Role
  /** Workers that were asked to stop. */
  readonly #asked = new Set<number>()
  /** Why it is being reloaded, or was last. */
  #reason = ''

  constructor(module: string, output: WriteStream, role: Role) {
    this.#module = module
    this.#output = output
    this.#role = role
  }

  readonly show = (event: ServiceEvent): void => {
    if (!isShownBy(this.#role, event)) return
    const lines =
      this.#ofLife(event) ??
      this.#ofParts(event) ??
      this.#ofTrouble(event) ??
      this.#ofReload(event) ??
      this.#ofWorkers(event) ??
      this.#ofSupervisor(event) ??
      []
    for (const line of lines) this.#output.write(`${withoutSecrets(line)}\n`)
  }

  /** The service as a whole. */
  #ofLife(event: ServiceEvent): string[] | undefined {
    switch (event.type) {
      case 'service.opening':
        return [`${this.#style('bold', 'steward')} ${this.#module}`, '']
      case 'service.listening':
        this.#urls.push(event.url)
        return []
      case 'service.ready':
        this.#wasReady = true
        return ['', this.#ready(event.took), '']
      case 'service.stopping':
        return ['', this.#stopping(event)]
      case 'service.forced': {
        const rest = `(${event.reason}), ${time(event.grace)} at most; a third signal ends the process at once`
        return [`${this.#style('bold', 'forced')} ${rest}`]
      }
      case 'start.waiting':
      case 'drain.waiting':
        return [this.#line('wait', `waiting for ${waitingFor(event.for)}`)]
      case 'service.closed':
        // A start that has failed is told of by its error
        return this.#wasReady ? ['', this.#summary(event.clean, event.served, event.took)] : []
      default:
        return undefined
    }
  }

  /** Resources, hooks and certificates. */
  #ofParts(event: ServiceEvent): string[] | undefined {
    switch (event.type) {
      case 'certificate.reloaded':
        return [this.#line('good', 'certificate reloaded', event.subject, `until ${event.validTo}`)]
      case 'resource.opened':
        return [this.#line('good', event.name, time(event.took))]
      case 'note.settled':
        return [this.#line('good', event.name, time(event.took), 'settled what was left of it')]
      case 'note.failed': {
        const said = `not settled: ${describeError(event.error)}`
        return [this.#line('bad', event.name, time(event.took), said)]
      }
      case 'resource.failed':
        return [this.#line('bad', event.name, time(event.took), describeError(event.error))]
      case 'resource.closed':
        return event.error === undefined
          ? [this.#line('quiet', `${event.name} closed`, time(event.took))]
          : [
              this.#line(
                'bad',
                `${event.name} not closed`,
                time(event.took),
                describeError(event.error),
              ),
            ]
      case 'resource.late':
        return [
          this.#line(
            'note',
            event.name,
            time(event.after),
            `${event.doing} takes too long: no longer waited for`,
          ),
        ]
      case 'hook.ended':
        return event.error === undefined
          ? [this.#line('good', event.name, time(event.took))]
          : this.#failed(describeError(event.error), event.error)
      default:
        return undefined
    }
  }

  /** What went wrong. */
  #ofTrouble(event: ServiceEvent): string[] | undefined {
    switch (event.type) {
      case 'request.cut': {
        const how = event.answered ? 'answered 503 in its place' : 'cut'
        return [this.#line('bad', `${event.method} ${event.url}`, time(event.age), how)]
      }
      case 'socket.lost': {
        const what = `${event.method} ${event.url}`
        return [this.#line('note', what, time(event.age), 'its client did not close in time')]
      }
      case 'handler.abandoned':
        return [
          this.#line(
            'bad',
            `${event.method} ${event.url}`,
            time(event.age),
            'its handler was abandoned',
          ),
        ]
      case 'request.failed': {
        const path = event.path.length > 0 ? ` (${event.path.join(' → ')})` : ''
        const said = `${event.method} ${event.url}${path}: ${describeError(event.error)}`
        return blamesClient(event.error)
          ? [this.#line('note', said)]
          : this.#failed(said, event.error)
      }
      case 'process.held':
        return event.by.map((one) =>
          this.#line('note', `held by ${one}`, 'close it with the resource that made it'),
        )
      case 'warning':
        return [this.#line('note', event.message)]
      case 'error': {
        const said = describeError(event.error)
        return this.#failed(
          event.message === said ? said : `${event.message}: ${said}`,
          event.error,
        )
      }
      default:
        return undefined
    }
  }

  /** A reload is one line, when it is over; what went wrong is shown by whom it happened to. */
  #ofReload(event: ServiceEvent): string[] | undefined {
    if (this.#role !== 'reloading') return undefined
    switch (event.type) {
      case 'roll.started':
        this.#reason = event.reason
        return []
      case 'roll.ended':
        return [this.#line('good', this.#reason, `reloaded in ${time(event.took)}`)]
      case 'roll.failed':
        return [this.#line('bad', this.#reason, 'the new code does not start')]
      case 'worker.ready':
        return this.#wasReady ? [] : undefined
      case 'worker.dying': {
        this.#asked.add(event.pid)
        const said = `stops by itself (${event.reason}): it is started again at the next change`
        return [this.#ofWorker('bad', event, said)]
      }
      case 'worker.stopping':
        this.#asked.add(event.pid)
        return []
      case 'worker.gone':
        // What was asked to stop has cut what took too long, and why a start failed it has said itself
        return this.#asked.delete(event.pid) || event.cause.startsWith('its start') ? [] : undefined
      case 'stub.ready':
        return [this.#line('wait', 'waiting for the next change; browsers see the error')]
      default:
        return undefined
    }
  }

  /** Why its start failed, a worker has said itself. */
  #gone(event: Extract<ServiceEvent, { type: 'worker.gone' }>): string[] {
    if (event.cause === '') return []
    const isSaid = event.cause.startsWith('its start failed: ')
    if (isSaid && this.#role === 'around') return []
    return [this.#ofWorker('bad', event, isSaid ? 'its start failed' : event.cause)]
  }

  #ofWorkers(event: ServiceEvent): string[] | undefined {
    switch (event.type) {
      case 'worker.ready': {
        const line = this.#ofWorker('good', event, `ready in ${time(event.took)}`)
        if (this.#wasReady) return [line]
        this.#wasReady = true
        return [line, '', this.#ready(event.took), '']
      }
      case 'worker.dying':
        return [this.#ofWorker('bad', event, `stops by itself (${event.reason}): it is replaced`)]
      case 'worker.retiring':
        return [this.#ofWorker('wait', event, `is replaced: ${event.reason}`)]
      case 'worker.hung':
        return this.#hung(event)
      case 'worker.killed': {
        // It was told of when it hung
        if (event.doing === 'hanging') return []
        const doing = event.doing === 'starting' ? 'start' : 'stop'
        const said = `killed: its ${doing} took longer than ${time(event.after)}`
        return [this.#ofWorker('bad', event, said), ...this.#frames(event.stack)]
      }
      case 'worker.gone':
        return this.#gone(event)
      case 'settling.ended':
        return event.clean
          ? []
          : [this.#line('bad', 'notes wait for the next start', time(event.took))]
      case 'roll.started':
        return [this.#line('wait', `replacing the workers, one at a time (${event.reason})`)]
      case 'roll.ended':
        return [this.#line('good', `all workers replaced in ${time(event.took)}`)]
      case 'roll.failed':
        return [this.#line('bad', 'the new worker did not start: the others go on as they are')]
      case 'stub.ready':
        return [this.#line('note', 'no worker is ready: requests are answered 503 until one is')]
      case 'stub.gone':
        return event.cause === '' ? [] : [this.#line('bad', 'what answers 503', event.cause)]
      default:
        return undefined
    }
  }

  #ofSupervisor(event: ServiceEvent): string[] | undefined {
    switch (event.type) {
      case 'supervisor.listening': {
        if (this.#urls.push(event.url) > 1) return []
        const count = event.workers === 1 ? '1 worker' : `${event.workers} workers`
        const mode = this.#role === 'reloading' ? ', reloaded when its code changes' : ''
        return [`${this.#style('bold', 'steward')} ${this.#module}, ${count}${mode}`, '']
      }
      case 'supervisor.stopping':
        return ['', this.#stopping(event)]
      case 'supervisor.forced':
        return [
          `${this.#style('bold', 'forced')} (${event.reason}); a third signal ends everything at once`,
        ]
      case 'supervisor.closed':
        return this.#wasReady
          ? ['', `${this.#stopped(event.clean)}: all workers gone in ${time(event.took)}`]
          : []
      default:
        return undefined
    }
  }

  #ofWorker(kind: keyof typeof SIGNS, worker: OfWorker, what: string): string {
    return this.#line(kind, `worker ${worker.slot}`, what, `process ${worker.pid}`)
  }

  #hung(event: Extract<ServiceEvent, { type: 'worker.hung' }>): string[] {
    const { after, underWay, stack, trouble } = event
    const lost = underWay === 0 ? '' : `, with ${underWay} under way`
    const said = `hangs: nothing heard for ${time(after)}${lost}`
    const where = stack === '' ? `    no stack: ${trouble}` : stack
    return [this.#ofWorker('bad', event, said), ...this.#frames(where)]
  }

  /** The innermost lines of a stack. */
  #frames(stack = ''): string[] {
    const lines = stack === '' ? [] : stack.split('\n').slice(0, MOST_FRAMES)
    return lines.map((line) => this.#style('dim', line))
  }

  #stopping({ reason, grace }: { reason: string; grace: number }): string {
    const rest = `(${reason}), ${time(grace)} at most; a second signal forces it`
    return `${this.#style('bold', 'stopping')} ${rest}`
  }

  #ready(took: number): string {
    const urls = this.#urls.map((url) => this.#style(['bold', 'cyan'], url)).join('  ')
    const hasKeys = this.#role === 'reloading' && process.stdin.isTTY
    const next = hasKeys ? 'h shows the keys' : 'Ctrl-C stops it'
    return `  ${urls}   ready in ${time(took)}, ${next}`
  }

  /** What failed, and where: the stack of user code, since nobody else shows it. */
  #failed(what: string, error: unknown): string[] {
    const thrown = isStewardError(error) ? error.cause : error
    const frames = thrown instanceof Error ? framesOf(thrown) : []
    return [this.#line('bad', what), ...frames.map((frame) => this.#style('dim', frame))]
  }

  #summary(clean: boolean, served: Served, took: StageTimes): string {
    const { requests, cut, left, sockets } = served
    const parted = sockets ? `, goodbye said to ${sockets.told} sockets (${sockets.lost} lost)` : ''
    const gone = left > 0 ? `, ${left} left by their clients${parted}` : parted
    const stages = `told in ${time(took.stopping)}, drained in ${time(took.draining)}, closed in ${time(took.closing)}`
    return `${this.#stopped(clean)}: ${requests} served, ${cut} cut${gone}; ${stages}`
  }

  #stopped(clean: boolean): string {
    return clean
      ? this.#style(['bold', 'green'], 'stopped')
      : this.#style(['bold', 'red'], 'stopped, not cleanly')
  }

  #line(kind: keyof typeof SIGNS, what: string, ...details: string[]): string {
    const [style, sign] = SIGNS[kind]
    const who = typeof this.#role === 'number' ? `worker ${this.#role}: ` : ''
    const begin = `  ${this.#style(style, sign)} ${who}`
    if (details.length === 0) return `${begin}${what}`
    return `${begin}${what.padEnd(24)} ${this.#style('dim', details.join('  '))}`
  }

  #style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#output })
  }
}

function isShownBy(role: Role, event: ServiceEvent): boolean {
  if (role === 'around') return !LIFE.has(event.type)
  if (role === 'reloaded') return isTrouble(event) && !PART_OF_RELOADS.has(event.type)
  return typeof role === 'string' || isTrouble(event)
}

function isTrouble(event: ServiceEvent): boolean {
  return TROUBLE.has(event.type) || ('error' in event && event.error !== undefined)
}

/** Where it was thrown: the first lines of its stack, without the message above them. */
function framesOf({ stack = '' }: Error): string[] {
  return ofUserCode(stack)
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 5)
}

/** What is waited for, in few words: the oldest three. */
function waitingFor(waiting: readonly Waiting[]): string {
  const oldest = waiting.toSorted((one, other) => other.age - one.age)
  const shown = oldest.slice(0, 3).map(({ kind, what, age }) => `${kind} ${what} (${time(age)})`)
  return waiting.length > 3
    ? `${shown.join(', ')} and ${waiting.length - 3} more`
    : shown.join(', ')
}

function time(ms: number): string {
  if (ms >= 10_000) return `${Math.round(ms / 1_000)} s`
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`
}

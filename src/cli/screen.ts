import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import { blamesClient, describeError, isStewardError, withoutSecrets } from '../base/errors.ts'
import type { Served, ServiceEvent, StageTimes, Waiting } from '../base/events.ts'

type Style = Parameters<typeof styleText>[0]

/** What a line begins with. */
const SIGNS = {
  good: ['green', '✓'],
  quiet: ['dim', '✓'],
  bad: ['red', '✗'],
  note: ['yellow', '!'],
  wait: ['yellow', '…'],
} as const

/** Shows a service on a terminal: what opens, where it is, what a stop waits for, and how it ended. */
export class Screen {
  readonly #module: string
  readonly #output: WriteStream
  #url = ''
  #wasReady = false

  constructor(module: string, output: WriteStream) {
    this.#module = module
    this.#output = output
  }

  readonly show = (event: ServiceEvent): void => {
    const lines = this.#ofLife(event) ?? this.#ofParts(event) ?? this.#ofTrouble(event) ?? []
    for (const line of lines) this.#output.write(`${withoutSecrets(line)}\n`)
  }

  /** The service as a whole. */
  #ofLife(event: ServiceEvent): string[] | undefined {
    switch (event.type) {
      case 'service.opening':
        return [`${this.#style('bold', 'steward')} ${this.#module}`, '']
      case 'service.listening':
        this.#url = event.url
        return []
      case 'service.ready':
        this.#wasReady = true
        return ['', this.#ready(event.took), '']
      case 'service.stopping': {
        const rest = `(${event.reason}), ${time(event.grace)} at most; a second signal forces it`
        return ['', `${this.#style('bold', 'stopping')} ${rest}`]
      }
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

  #ready(took: number): string {
    return `  ${this.#style(['bold', 'cyan'], this.#url)}   ready in ${time(took)}, Ctrl-C stops it`
  }

  /** What failed, and where: the stack of user code, since nobody else shows it. */
  #failed(what: string, error: unknown): string[] {
    const thrown = isStewardError(error) ? error.cause : error
    const frames = thrown instanceof Error ? framesOf(thrown) : []
    return [this.#line('bad', what), ...frames.map((frame) => this.#style('dim', frame))]
  }

  #summary(clean: boolean, { requests, cut, left }: Served, took: StageTimes): string {
    const how = clean
      ? this.#style(['bold', 'green'], 'stopped')
      : this.#style(['bold', 'red'], 'stopped, not cleanly')
    const gone = left > 0 ? `, ${left} left by their clients` : ''
    const stages = `told in ${time(took.stopping)}, drained in ${time(took.draining)}, closed in ${time(took.closing)}`
    return `${how}: ${requests} served, ${cut} cut${gone}; ${stages}`
  }

  #line(kind: keyof typeof SIGNS, what: string, ...details: string[]): string {
    const [style, sign] = SIGNS[kind]
    const begin = `  ${this.#style(style, sign)} `
    if (details.length === 0) return `${begin}${what}`
    return `${begin}${what.padEnd(24)} ${this.#style('dim', details.join('  '))}`
  }

  #style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#output })
  }
}

/** Where it was thrown: the first lines of its stack, without the message above them. */
function framesOf({ stack = '' }: Error): string[] {
  return stack
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

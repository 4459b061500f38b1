import type { WriteStream } from 'node:tty'
import { styleText } from 'node:util'
import { describeError, isStewardError } from '../base/errors.ts'
import type { Served, ServiceEvent, StageTimes, Waiting } from '../base/events.ts'

type Style = Parameters<typeof styleText>[0]

/** Shows a service on a terminal: what opens, where it is, what a stop waits for, and how it ended. */
export class Screen {
  readonly #module: string
  readonly #output: WriteStream
  #url = ''

  constructor(module: string, output: WriteStream) {
    this.#module = module
    this.#output = output
  }

  readonly show = (event: ServiceEvent): void => {
    for (const line of this.#linesOf(event)) this.#output.write(`${line}\n`)
  }

  #linesOf(event: ServiceEvent): string[] {
    switch (event.type) {
      case 'service.opening':
        return [`${this.#style('bold', 'steward')} ${this.#module}`, '']
      case 'resource.opened':
        return [this.#step('green', '✓', [event.name, time(event.took)])]
      case 'resource.failed':
        return [this.#step('red', '✗', [event.name, time(event.took), describeError(event.error)])]
      case 'resource.closed':
        return [this.#closing(event.name, event.took, event.error)]
      case 'resource.late':
        return [this.#step('yellow', '!', [event.name, time(event.after), `is late ${event.doing}: no longer waited for`])]
      case 'hook.ended':
        return [event.error === undefined ? this.#step('green', '✓', [event.name, time(event.took)]) : this.#failed(event.error)]
      case 'service.listening':
        this.#url = event.url
        return []
      case 'service.ready':
        return ['', `  ${this.#style(['bold', 'cyan'], this.#url)}   ready in ${time(event.took)}, Ctrl-C stops it`, '']
      default:
        return this.#linesOfEnd(event)
    }
  }

  #linesOfEnd(event: ServiceEvent): string[] {
    switch (event.type) {
      case 'service.stopping':
        return ['', `${this.#style('bold', 'stopping')} (${event.reason}), ${time(event.grace)} at most; the same again forces it`]
      case 'drain.waiting':
        return [this.#step('yellow', '…', [`waiting for ${waitingFor(event.for)}`])]
      case 'request.cut':
        return [this.#step('red', '✗', [`${event.method} ${event.url}`, time(event.age), event.answered ? 'answered 503' : 'cut'])]
      case 'handler.abandoned':
        return [this.#step('red', '✗', [`${event.method} ${event.url}`, time(event.age), 'its handler was abandoned'])]
      case 'request.failed':
        return [this.#failed(event.error, `${event.method} ${event.url}${event.path.length > 0 ? ` (${event.path.join(' → ')})` : ''}`)]
      case 'service.closed':
        return ['', this.#summary(event.clean, event.served, event.took)]
      case 'process.held':
        return [this.#step('yellow', '!', [`the process is held by ${event.by.join(', ')}: close it with the resource that made it`])]
      case 'warning':
        return [this.#step('yellow', '!', [event.message])]
      case 'error':
        return [this.#failed(event.error, event.message)]
      default:
        return []
    }
  }

  #closing(name: string, took: number, error: unknown): string {
    if (error === undefined) return this.#step('dim', '✓', [`${name} closed`, time(took)])
    return this.#step('red', '✗', [`${name} did not close`, time(took), describeError(error)])
  }

  /** What failed, and where: the stack of user code, since nobody else shows it. */
  #failed(error: unknown, what?: string): string {
    const shown = isStewardError(error) && error.cause instanceof Error ? error.cause : error
    const stack = shown instanceof Error ? (shown.stack ?? shown.message) : describeError(shown)
    const head = what === undefined || what === describeError(error) ? describeError(error) : `${what}: ${describeError(error)}`
    return `${this.#step('red', '✗', [head])}\n${this.#style('dim', stack.split('\n').slice(1, 6).join('\n'))}`
  }

  #summary(clean: boolean, { requests, cut, left }: Served, took: StageTimes): string {
    const how = clean ? this.#style(['bold', 'green'], 'stopped') : this.#style(['bold', 'red'], 'stopped, not cleanly')
    const gone = left > 0 ? `, ${left} left by their clients` : ''
    const stages = `told in ${time(took.stopping)}, drained in ${time(took.draining)}, closed in ${time(took.closing)}`
    return `${how}: ${requests} served, ${cut} cut${gone}; ${stages}`
  }

  #step(style: Style, sign: string, [what, ...rest]: readonly string[]): string {
    return `  ${this.#style(style, sign)} ${(what ?? '').padEnd(rest.length > 0 ? 24 : 0)}${rest.length > 0 ? ` ${this.#style('dim', rest.join('  '))}` : ''}`
  }

  #style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#output })
  }
}

/** What is waited for, in few words: the oldest three. */
function waitingFor(waiting: readonly Waiting[]): string {
  const oldest = waiting.toSorted((one, other) => other.age - one.age)
  const shown = oldest.slice(0, 3).map(({ kind, what, age }) => `${kind} ${what} (${time(age)})`)
  return waiting.length > 3 ? `${shown.join(', ')} and ${waiting.length - 3} more` : shown.join(', ')
}

function time(ms: number): string {
  if (ms >= 10_000) return `${Math.round(ms / 1_000)} s`
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(1)} s`
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`
}

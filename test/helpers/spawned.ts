import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { ServiceEvent } from '../../src/base/events.ts'
import { RUNTIME } from './program.ts'
import { root } from './repository.ts'
import { within } from './within.ts'

/** A line of the JSON log. */
export type LogLine = Record<string, unknown> & { event?: ServiceEvent['type'] }

export interface SpawnOptions {
  args?: readonly string[]
  env?: Record<string, string>
}

/** `steward serve` of a module, as it is built, in a process of its own; killed at the end of the block. */
export class Spawned {
  readonly child: ChildProcessByStdio<null, Readable, Readable>
  readonly log: LogLine[] = []
  /** What it wrote to its standard error. */
  errors = ''
  /** Resolves when it has ended and its output is read: with its exit code, or with the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
  readonly #watchers = new Set<() => void>()
  #rest = ''

  constructor(module: string, { args = ['--port', '0'], env = {} }: SpawnOptions = {}) {
    const command = [join(root, 'dist', 'cli', 'main.js'), 'serve', module, ...args]
    this.child = spawn(process.execPath, command, {
      cwd: root,
      env: { ...process.env, XDG_RUNTIME_DIR: RUNTIME, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => (this.errors += text))
    this.ended = once(this.child, 'close').then(([code, signal]) => {
      for (const watch of this.#watchers) watch()
      return (code ?? signal) as number | NodeJS.Signals
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Where it is reached, once it is ready. */
  async url(): Promise<string> {
    await this.line('service.ready')
    const { url } = await this.line('service.listening')
    return url as string
  }

  /** The first line of the log about an event, or a later one, written already or to come. */
  line(event: ServiceEvent['type'], number = 1): Promise<LogLine> {
    const what = `${event} ${number}; its errors: ${this.errors || 'none'}`
    return within(20_000, this.#line(event, number), what)
  }

  /** Sends a signal, and gives what it ended with. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    this.child.kill(signal)
    return within(20_000, this.ended, 'the end of the process')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
  }

  async #line(event: string, number: number): Promise<LogLine> {
    for (;;) {
      const line = this.log.filter((one) => one.event === event)[number - 1]
      if (line) return line
      if (this.child.stdout.closed) throw new Error(`It ended before ${event}: ${this.errors}`)
      await new Promise<void>((resolve) => this.#watchers.add(resolve))
    }
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop()!
    for (const line of lines) this.log.push(JSON.parse(line) as LogLine)
    for (const watch of this.#watchers) watch()
    this.#watchers.clear()
  }
}

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Place } from './place.ts'

const PROGRAM = fileURLToPath(new URL('child.ts', import.meta.url))

/** Within how many milliseconds of the signal a process must have ended: its timeout, and some more. */
const LIMIT = 13_000

/** How a process has ended: its exit code, or the signal; `killed` when it did not end by itself. */
export interface Exit {
  readonly code: number | string
  /** From the signal on, in milliseconds. */
  readonly took: number
}

const running = new Set<ChildProcess>()
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

/** A process that serves with one of the rivals, and is ended with its scope. */
export class Subject implements AsyncDisposable {
  readonly #process: ChildProcess
  readonly #exited: Promise<Exit['code']>
  readonly #lines: string[] = []
  #wake: () => void = () => {}
  #signalled: number | undefined = undefined
  #limit: NodeJS.Timeout | undefined = undefined
  #took = 0
  port = 0

  private constructor(child: ChildProcess) {
    this.#process = child
    running.add(child)
    this.#exited = new Promise((resolve) => child.once('exit', (...how) => resolve(this.#end(how))))
    let rest = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      this.#lines.push(...lines)
      this.#wake()
    })
  }

  /** Starts a process, and waits until it listens. `socket` is the descriptor that it inherits. */
  static async start(rival: string, place: Place = {}, socket?: number): Promise<Subject> {
    // srvx drains nothing in CI, and PORT is for steward's command line
    const { CI: _ci, TEST: _test, PORT: _port, ...env } = process.env
    const child = spawn(process.execPath, [PROGRAM, rival, JSON.stringify(place)], {
      env,
      stdio: ['ignore', 'pipe', 'pipe', socket ?? 'ignore'],
    })
    const subject = new Subject(child)
    let problem = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (problem += text))
    const ended = subject.#exited.then((code) => {
      throw new Error(`${rival} has ended with ${code} before it listened: ${problem}`)
    })
    ended.catch(() => {})
    subject.port = await Promise.race([subject.#listens(), ended])
    return subject
  }

  /** Waits until so many requests with an id have reached a handler. */
  async runs(id: string, requests = 1): Promise<void> {
    while (this.ran(id) < requests) await this.#said()
  }

  /** How many requests with an id have reached a handler. */
  ran(id: string): number {
    return this.#lines.filter((line) => line === `ran ${id}`).length
  }

  async #listens(): Promise<number> {
    while (this.#lines.length === 0) await this.#said()
    return Number(this.#lines[0]?.slice('port '.length))
  }

  #said(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve))
  }

  /** Sends SIGTERM; the first one begins the time that the exit takes. */
  signal(): void {
    if (this.#signalled === undefined) {
      this.#signalled = performance.now()
      this.#limit = setTimeout(() => this.#process.kill('SIGKILL'), LIMIT)
    }
    this.#process.kill('SIGTERM')
  }

  /** How it has ended; asks for it when nobody has. */
  async exit(): Promise<Exit> {
    if (this.#signalled === undefined) this.signal()
    const code = await this.#exited
    return { code, took: this.#took }
  }

  #end([code, signal]: [code: number | null, signal: string | null]): Exit['code'] {
    this.#took = performance.now() - (this.#signalled ?? 0)
    clearTimeout(this.#limit)
    running.delete(this.#process)
    if (signal === 'SIGKILL') return 'killed'
    return code ?? signal ?? 'unknown'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!running.has(this.#process)) return
    const exit = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exit
  }
}

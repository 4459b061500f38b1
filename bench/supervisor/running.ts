import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { treeOf } from './tree.ts'

export interface RunningOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** The core that it and its workers run on. */
  readonly core?: number
}

const running = new Set<Running>()
process.on('exit', () => running.forEach((one) => one.kill()))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

/** A program that was started, with all that it has started; they end with its scope. */
export class Running implements AsyncDisposable {
  readonly child: ChildProcess
  readonly lines: string[] = []
  stderr = ''
  readonly #exited: Promise<unknown>
  #wake: () => void = () => {}

  constructor(command: readonly string[], { cwd, env, core }: RunningOptions = {}) {
    const pinned = core === undefined ? command : ['taskset', '-c', String(core), ...command]
    const [file = '', ...args] = pinned
    const { CI: _ci, TEST: _test, PORT: _port, ...own } = process.env
    this.child = spawn(file, args, {
      env: { ...own, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(cwd !== undefined && { cwd }),
    })
    this.#exited = once(this.child, 'exit').then(() => this.#wake())
    let rest = ''
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      this.lines.push(...lines)
      this.#wake()
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    running.add(this)
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Waits until so many lines have held this text. @throws when the program ends before, or after half a minute */
  async said(text: string, times = 1): Promise<void> {
    const until = performance.now() + 30_000
    while (this.count(text) < times) {
      const { exitCode, signalCode } = this.child
      const isOver = exitCode !== null || signalCode !== null
      if (isOver || performance.now() > until) {
        const how = isOver ? `it has ended with ${exitCode ?? signalCode}` : 'nothing for 30 s'
        throw new Error(`Cannot wait for "${text}": ${how}\n${this.stderr}`)
      }
      const limit = Promise.withResolvers<void>()
      const timer = setTimeout(limit.resolve, 1_000)
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), limit.promise])
      clearTimeout(timer)
    }
  }

  /** How many lines have held this text. */
  count(text: string): number {
    return this.lines.filter((line) => line.includes(text)).length
  }

  /** Waits for its end. @throws when it has not ended with 0 */
  async ended(): Promise<void> {
    await this.#exited
    running.delete(this)
    if (this.child.exitCode === 0) return
    const how = this.child.exitCode ?? this.child.signalCode
    throw new Error(`It has ended with ${how}\n${this.lines.join('\n')}\n${this.stderr}`)
  }

  /** Asks it to end, and waits for that; what is there after 15 s is killed. */
  async end(): Promise<number | string> {
    this.child.kill('SIGTERM')
    const late = setTimeout(() => this.kill(), 15_000)
    await this.#exited
    clearTimeout(late)
    running.delete(this)
    return this.child.exitCode ?? this.child.signalCode ?? 'unknown'
  }

  /** Ends it with all that has come from it. */
  kill(): void {
    running.delete(this)
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    for (const pid of treeOf(this.pid)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has just ended
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill()
    await this.#exited
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

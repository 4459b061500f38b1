import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import os from 'node:os'

/** A process of ours on a core of its own, spoken to one question at a time, and ended with its scope. */
export class Child implements AsyncDisposable {
  readonly #process: ChildProcess

  private constructor(process: ChildProcess) {
    this.#process = process
  }

  /** Starts `node FILE ARGUMENT…` on the given core, where the machine can do that. */
  static start(core: number, file: string, args: readonly string[] = []): Child {
    const path = new URL(file, import.meta.url).pathname
    const node = [process.execPath, path, ...args]
    const [command = '', ...rest] = canPin() ? ['taskset', '-c', String(core), ...node] : node
    return new Child(spawn(command, rest, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }))
  }

  /** The next message of the child. */
  async heard(ms: number): Promise<unknown> {
    const done = new AbortController()
    const signal = AbortSignal.any([done.signal, AbortSignal.timeout(ms)])
    try {
      return await Promise.race([
        once(this.#process, 'message', { signal }).then(([message]) => message as unknown),
        once(this.#process, 'exit', { signal }).then(ended),
      ])
    } finally {
      done.abort()
    }
  }

  /** Sends a question and waits for the answer. */
  async ask(question: object, ms = 5_000): Promise<unknown> {
    const answer = this.heard(ms)
    this.#process.send(question)
    return await answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#process
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await exit
    clearTimeout(late)
  }
}

function ended(): never {
  throw new Error('A child process ended before it answered')
}

let pins: boolean | undefined

/** Are there two cores, and `taskset` to keep server and load apart? */
export function canPin(): boolean {
  pins ??= os.availableParallelism() > 1 && spawnSync('taskset', ['-c', '0,1', 'true']).status === 0
  return pins
}

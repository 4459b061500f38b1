import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MAIN, Program, type Line, type ProgramOptions } from './program.ts'
import { RawClient } from './raw-client.ts'
import { root } from './repository.ts'
import { turns } from './within.ts'

/** A program that has workers, on a free port. They end with it. */
export class WithWorkers extends Program {
  /** The so many-th line with this event that fits, printed already or to come. */
  nth(name: string, count: number, fits: (line: Line) => boolean = () => true): Promise<Line> {
    const isIt = (line: Line): boolean => line.event === name && fits(line)
    return this.event(name, (line) => this.lines.filter(isIt)[count - 1] === line)
  }

  async port(): Promise<number> {
    return Number(new URL(String((await this.event('supervisor.listening'))['url'])).port)
  }

  override async connect(): Promise<RawClient> {
    return RawClient.connect(await this.port())
  }

  /** The process of the worker that was the so many-th to be ready. */
  async pid(count = 1): Promise<number> {
    return Number((await this.nth('worker.ready', count))['pid'])
  }

  /** Asks for a rolling restart, and waits for its end. */
  async roll(count: number): Promise<void> {
    this.signal('SIGHUP')
    await this.nth('roll.ended', count)
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]()
    for (const { event, pid } of this.lines) if (event === 'worker.starting') end(Number(pid))
  }
}

/** `steward serve --workers` of a program that answers who it is. */
export class Supervised extends WithWorkers {
  constructor(workers: number, args: readonly string[] = [], options?: ProgramOptions) {
    const path = join(root, 'test/programs/supervised.ts')
    super([MAIN, 'serve', path, '--port', '0', '--workers', String(workers), ...args], options)
  }

  /** One whose workers are all ready. */
  static async ready(
    workers: number,
    args?: readonly string[],
    options?: ProgramOptions,
  ): Promise<Supervised> {
    const supervised = new Supervised(workers, args, options)
    await supervised.nth('worker.ready', workers)
    return supervised
  }
}

/** Ends a worker with all that it has spawned, if it is still there. */
function end(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has gone
  }
}

/** Does it run? One that has ended and that nobody has collected does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Waits for the end of a process that is no child of this one: nobody tells of it. */
export async function gone(pid: number): Promise<void> {
  const until = performance.now() + 5_000
  while (isAlive(pid)) {
    if (performance.now() > until) throw new Error(`Process ${pid} is still there after 5 s`)
    await turns(10)
  }
}

import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { RawClient, type RawResponse } from './raw-client.ts'
import { root } from './repository.ts'
import { within } from './within.ts'

/** The command line, as it is in the source. */
export const MAIN: string = join(root, 'src/cli/main.ts')

/** Keeps what Node makes of TypeScript: a third of the time that a program takes to start. */
const CACHE: string = join(root, '.cache/compiled')

/** A line of JSON that a program printed: a log line of ours, or one of its own with an `event`. */
export interface Line {
  readonly event: string
  readonly [field: string]: unknown
}

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ProgramOptions {
  env?: Record<string, string>
  cwd?: string
  /** In the place of pipes: a test that holds the descriptors. */
  stdio?: StdioOptions
  /** What starts Node, which is its last arguments. */
  through?: readonly string[]
}

/** Where the control sockets of services are: apart from those of other tests, and of whoever runs these. */
export const RUNTIME: string = mkdtempSync(join(tmpdir(), 'steward-run-'))
process.once('exit', () => rmSync(RUNTIME, { recursive: true, force: true }))

/** A program that was spawned: what it prints as JSON lines is awaited by its `event`. Killed when disposed. */
export class Program implements Disposable {
  readonly child: ChildProcess
  readonly lines: Line[] = []
  stdout = ''
  stderr = ''
  readonly exited: Promise<Exit>
  readonly #waiting = new Set<() => void>()
  #partial = ''

  constructor(
    args: readonly string[],
    { env = {}, cwd, stdio, through = [] }: ProgramOptions = {},
  ) {
    const { PORT: _, NODE_TEST_CONTEXT: __, ...inherited } = process.env
    const [command, ...rest] = [...through, process.execPath, ...args] as [string, ...string[]]
    this.child = spawn(command, rest, {
      cwd: cwd ?? root,
      env: {
        ...inherited,
        NO_COLOR: '1',
        NODE_COMPILE_CACHE: CACHE,
        XDG_RUNTIME_DIR: RUNTIME,
        ...env,
      },
      stdio: stdio ?? ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.exited = new Promise((resolve) =>
      this.child.on('close', (code, signal) => resolve({ code, signal })),
    )
    void this.exited.then(() => this.#look())
  }

  /** `steward serve` of a program under test/programs, or of a path, on a free port. */
  static serve(program: string, args: readonly string[] = [], options?: ProgramOptions): Program {
    const path = program.includes('/') ? program : join(root, 'test/programs', program)
    const place = args.some((arg) => /^--(bind|unix|fd|port|host)$/.test(arg))
      ? []
      : ['--port', '0']
    return new Program([MAIN, 'serve', path, ...place, ...args], options)
  }

  /** The same in one process, without a supervisor. */
  static alone(program: string, args: readonly string[] = [], options?: ProgramOptions): Program {
    return Program.serve(program, ['--no-supervisor', ...args], options)
  }

  /** A program under test/programs, by itself. */
  static run(program: string, args: readonly string[] = [], options?: ProgramOptions): Program {
    return new Program([join(root, 'test/programs', program), ...args], options)
  }

  /** The first line with this event that fits, printed already or to come. */
  event(name: string, fits: (line: Line) => boolean = () => true): Promise<Line> {
    const { promise, resolve, reject } = Promise.withResolvers<Line>()
    const look = (): void => {
      const found = this.lines.find((line) => line.event === name && fits(line))
      const { exitCode, signalCode } = this.child
      if (found) resolve(found)
      else if (exitCode === null && signalCode === null) return
      else reject(new Error(`No ${name}: it ended (${exitCode ?? signalCode})\n${this.#output()}`))
      this.#waiting.delete(look)
    }
    this.#waiting.add(look)
    look()
    return within(20_000, promise, `the event ${name}`).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.#output()}`)
    })
  }

  /** Where it listens, once it does. */
  async url(): Promise<string> {
    return String((await this.event('service.listening'))['url'])
  }

  /** A connection to it. */
  async connect(): Promise<RawClient> {
    return RawClient.connect(Number(new URL(await this.url()).port))
  }

  /** One answer of it, on a connection of its own that does not stay. */
  async get(path: string): Promise<RawResponse> {
    using client = await this.connect()
    const head = `GET ${path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`
    return await client.send(head).response()
  }

  /** Resolves when it has ended and its output is read. */
  exit(): Promise<Exit> {
    return within(20_000, this.exited, 'the end of the program').catch((error: unknown) => {
      throw new Error(`${String(error)}\n${this.#output()}`)
    })
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name)
  }

  /** The names of the events in the order in which they were printed. */
  names(...wanted: string[]): string[] {
    const names = this.lines.map((line) => line.event)
    return wanted.length > 0 ? names.filter((name) => wanted.includes(name)) : names
  }

  [Symbol.dispose](): void {
    this.child.kill('SIGKILL')
    this.child.stdout?.destroy()
    this.child.stderr?.destroy()
  }

  #read(text: string): void {
    this.stdout += text
    const lines = (this.#partial + text).split('\n')
    this.#partial = lines.pop()!
    for (const line of lines) if (line.startsWith('{')) this.lines.push(JSON.parse(line) as Line)
    this.#look()
  }

  #look(): void {
    for (const look of this.#waiting) look()
  }

  #output(): string {
    return `stdout: ${this.stdout}\nstderr: ${this.stderr}`
  }
}

/** A folder with modules that import `steward` from the source: what is too wrong to lie under test/programs. */
export function modules(files: Record<string, string>): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'steward-test-'))
  const source = pathToFileURL(join(root, 'src/index.ts')).href
  for (const [name, text] of Object.entries({ 'package.json': '{"type":"module"}', ...files })) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), text.replaceAll("'steward'", `'${source}'`))
  }
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

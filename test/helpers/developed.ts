import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { once } from 'node:events'
import { MAIN, modules, type Line, type ProgramOptions } from './program.ts'
import { WithWorkers } from './supervised.ts'
import { within } from './within.ts'

/** An app that holds what one process alone may hold: a lock file, and a connection to a server. */
const APP = `
import { once } from 'node:events'
import { openSync, rmSync } from 'node:fs'
import net from 'node:net'
import { perApp, service } from 'steward'
import { word } from './word.ts'

const { DATABASE = '', CLOSES = '300' } = process.env
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const lock = perApp(async function* () {
  openSync('lock', 'wx')
  yield 'lock'
  await pause(Number(CLOSES))
  rmSync('lock')
})

const database = perApp(async function* () {
  const socket = net.connect(Number(DATABASE), '127.0.0.1')
  await once(socket, 'connect')
  yield socket
  socket.end()
  await once(socket, 'close')
})

export default service({
  app: async (request, response) => {
    if (request.url === '/events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      return void response.write('data: hello\\n\\n')
    }
    if (request.headers.upgrade) return void response.socket.write('HTTP/1.1 101 Switching Protocols\\r\\n\\r\\nhello')
    if (request.url === '/die') setImmediate(() => { throw new Error('nobody caught this') })
    const body: Buffer[] = []
    for await (const chunk of request) body.push(chunk as Buffer)
    response.setHeader('Worker', word)
    response.end(body.length > 0 ? Buffer.concat(body) : word)
  },
  resources: { lock, database },
})
`

export interface DevelopedOptions extends ProgramOptions {
  /** More files, or others in the place of the usual ones. */
  files?: Record<string, string>
  args?: readonly string[]
  workers?: number
}

/** A service whose code is being developed: `steward serve app.ts --reload` in a folder of its own. */
export class Developed extends WithWorkers {
  readonly folder: string
  readonly #release: () => void
  readonly #database: Database | undefined

  private constructor(options: DevelopedOptions, database: Database | undefined) {
    const { files = {}, args = [], workers = 1, ...others } = options
    const folder = modules({ 'app.ts': APP, 'word.ts': wordIs('one'), ...files })
    const count = workers > 1 ? ['--workers', String(workers)] : []
    const env = { DATABASE: String(database?.port ?? 0), ...others.env }
    const command = [MAIN, 'serve', 'app.ts', '--reload', '--port', '0', ...count, ...args]
    super(command, { ...others, cwd: folder.path, env })
    this.folder = folder.path
    this.#release = () => folder[Symbol.dispose]()
    this.#database = database
  }

  /** One that is being started; the usual app has its database. */
  static async start(options: DevelopedOptions = {}): Promise<Developed> {
    const isUsual = options.files?.['app.ts'] === undefined
    return new Developed(options, isUsual ? await Database.open() : undefined)
  }

  /** One that serves. */
  static async serving(options: DevelopedOptions = {}): Promise<Developed> {
    const program = await Developed.start(options)
    await program.nth('worker.ready', options.workers ?? 1)
    return program
  }

  /** How many connections its database has had at a time at the most. */
  get connections(): number {
    return this.#database?.most ?? 0
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.folder, file), text)
  }

  remove(file: string): void {
    rmSync(join(this.folder, file))
  }

  /** Saves another word, which it answers with from then on. */
  say(word: string): void {
    this.write('word.ts', wordIs(word))
  }

  /** Waits for the end of the so many-th reload. */
  reloaded(count: number): Promise<Line> {
    return this.nth('roll.ended', count)
  }

  async text(path = '/'): Promise<string> {
    return (await this.get(path)).body
  }

  /** The lines of this event. */
  all(event: string): Line[] {
    return this.lines.filter((line) => line.event === event)
  }

  /** Its descriptors. */
  get descriptors(): number {
    return readdirSync(`/proc/${this.child.pid}/fd`).length
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]()
    this.#database?.close()
    this.#release()
  }
}

/** A module that exports a word. */
export function wordIs(word: string): string {
  return `export const word: string = '${word}'\n`
}

/** Counts its connections. */
class Database {
  readonly #server = net.createServer({ allowHalfOpen: false }, (socket) => this.#count(socket))
  readonly #open = new Set<net.Socket>()
  most = 0

  static async open(): Promise<Database> {
    const database = new Database()
    database.#server.listen(0, '127.0.0.1')
    await within(5_000, once(database.#server, 'listening'), 'the database')
    return database
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#open) socket.destroy()
  }

  #count(socket: net.Socket): void {
    this.#open.add(socket)
    this.most = Math.max(this.most, this.#open.size)
    socket.on('error', () => {})
    socket.on('close', () => this.#open.delete(socket))
    socket.resume()
  }
}

import net from 'node:net'
import { Client, type ClientOptions } from './client.ts'
import { Http2Client } from './http2-client.ts'
import { Distance } from './distance.ts'
import type { Outcome } from './outcome.ts'
import type { Credentials, Place } from './place.ts'
import { Subject, type Exit } from './subject.ts'

/** Something that happens around the signal. */
export interface Case {
  /** For `--only`. */
  readonly id: string
  readonly says: string
  /** How often each rival goes through it. */
  readonly trials: number
  /** Measures a time: nothing else runs meanwhile. */
  readonly alone?: boolean
  /** Over HTTPS, with HTTP/1.1 or HTTP/2, and only for those that serve it. */
  readonly over?: 'tls' | 'http2'
  /** Starts the rival, signals it, and resolves with what became of each request. */
  run(stage: Stage): Promise<Outcome[]>
}

/** What one trial has at hand; all of it is gone afterwards. */
export class Stage implements AsyncDisposable {
  readonly #rival: string
  readonly #stack = new AsyncDisposableStack()
  readonly credentials: Credentials | undefined
  /** From here on the trial only waits: others may use the machine. */
  readonly onlyWaits: () => void
  #first: Subject | undefined = undefined

  constructor(rival: string, credentials: Credentials | undefined, onlyWaits: () => void) {
    this.#rival = rival
    this.credentials = credentials
    this.onlyWaits = onlyWaits
  }

  /** Starts the rival; `socket` is what it listens on in the place of a port of its own. */
  async start(place: Place = {}, socket?: net.BoundSocket): Promise<Subject> {
    const inherited = socket ? { ...place, fd: 3 } : place
    const subject = this.#stack.use(await Subject.start(this.#rival, inherited, socket?.fd()))
    this.#first ??= subject
    return subject
  }

  /** Clients that have connected. */
  async connect(port: number, clients: number, options?: ClientOptions): Promise<Client[]> {
    const one = async (): Promise<Client> => this.#stack.use(await Client.connect(port, options))
    return await Promise.all(Array.from({ length: clients }, one))
  }

  /** HTTP/2 clients that have connected. */
  async connectHttp2(port: number, clients: number): Promise<Http2Client[]> {
    const cert = this.credentials?.cert ?? ''
    const one = async (): Promise<Http2Client> =>
      this.#stack.use(await Http2Client.connect(port, cert))
    return await Promise.all(Array.from({ length: clients }, one))
  }

  /** Clients whose connection has been used once, and is kept. */
  async idle(port: number, clients: number): Promise<Client[]> {
    const all = await this.connect(port, clients)
    await Promise.all(all.map((client) => client.get('/')))
    return all
  }

  /** A network between the clients and a port. */
  async distance(port: number): Promise<number> {
    return this.#stack.use(await Distance.to(port)).port
  }

  /** A socket that a process can hand over to the next. */
  socket(): net.BoundSocket {
    const socket = new net.BoundSocket({ host: '127.0.0.1' })
    this.#stack.defer(() => socket.close())
    return socket
  }

  /** How the process that was started first has ended. */
  async exit(): Promise<Exit> {
    if (!this.#first) throw new Error('The case has started no process')
    return await this.#first.exit()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

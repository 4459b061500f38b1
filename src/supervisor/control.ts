import { once } from 'node:events'
import net from 'node:net'
import type { Release, World } from '../base/world.ts'
import type { Answer } from './requests.ts'

/** How long a line may be, in characters: every request fits many times. */
const LONGEST = 4_096

/** How many may be connected at a time. */
const MOST_CLIENTS = 32

/** How long a client may ask nothing, or leave an answer unread, in milliseconds. */
const IDLE = 30_000

/** What a control socket is made with. */
export interface ControlOptions {
  readonly world: World
  /** Answers one line. Never rejects. */
  answer(line: string): Promise<Answer>
}

/**
 * The control socket of a service: each line is a request, and is answered by one line, in order. What a client does can end its
 * own connection, and nothing else: lines, clients and idle time are bounded.
 */
export class Control {
  readonly #options: ControlOptions
  readonly #server: net.Server
  readonly #clients = new Set<net.Socket>()
  #isClosed = false

  constructor(options: ControlOptions) {
    this.#options = options
    // Half-open, so that `echo … | nc -U` gets its answer
    this.#server = net.createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket))
  }

  /** Listens on a path where nothing is; only the user of this process may connect. Rejects with the system's error. */
  async listen(path: string): Promise<void> {
    // The socket is made within listen(): at no moment does it have another mode
    const before = process.umask(0o177)
    try {
      this.#server.listen(path)
    } finally {
      process.umask(before)
    }
    await once(this.#server, 'listening')
    // Nobody needs a service to go on that only listens for commands
    this.#server.unref()
    // A connection that the system could not accept is the client's trouble
    this.#server.on('error', () => {})
  }

  /** Takes no more clients, and removes the socket. Those that are connected see the process end. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#server.close()
    for (const socket of this.#clients) socket.unref()
  }

  #accept(socket: net.Socket): void {
    // A client that went away
    socket.on('error', () => {})
    if (this.#clients.size >= MOST_CLIENTS) {
      const error = `Cannot take another client: ${MOST_CLIENTS} are connected`
      send(socket, { ok: false, error })
      return socket.destroySoon()
    }
    this.#clients.add(socket)
    socket.once('close', () => this.#clients.delete(socket))
    void this.#converse(socket).catch(() => socket.destroy())
  }

  /** Until the client has no more to ask. */
  async #converse(socket: net.Socket): Promise<void> {
    let release = this.#limit(socket)
    socket.once('close', () => release())
    for await (const line of linesOf(socket)) {
      release()
      if (line === TOO_LONG) return refuse(socket)
      const answered = await this.#options.answer(line)
      if (socket.destroyed) return
      release = this.#limit(socket)
      if (send(socket, answered)) continue
      await Promise.race([once(socket, 'drain'), once(socket, 'close')])
    }
    socket.end()
  }

  /** A client that asks nothing for long makes room for others. */
  #limit(socket: net.Socket): Release {
    return this.#options.world.timer(IDLE, () => socket.destroy(), 'idle')
  }
}

/** In the place of a line that is longer than any request. */
const TOO_LONG = Symbol('too long')

async function* linesOf(socket: net.Socket): AsyncGenerator<string | typeof TOO_LONG> {
  let rest = ''
  socket.setEncoding('utf8')
  // The iterator would destroy the socket at its end, with the last answer unsent
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop()!
    for (const line of lines) {
      if (line.length > LONGEST) return yield TOO_LONG
      if (line.trim() !== '') yield line
    }
    if (rest.length > LONGEST) return yield TOO_LONG
  }
  // The end of what is sent ends a line, too
  if (rest.trim() !== '') yield rest
}

/** What comes after is no request any more: it says so, and hangs up. */
function refuse(socket: net.Socket): void {
  const error = `Cannot read the request: its line is longer than ${LONGEST} characters`
  send(socket, { ok: false, error })
  socket.destroySoon()
}

function send(socket: net.Socket, answered: Answer): boolean {
  return socket.write(`${JSON.stringify(answered)}\n`)
}

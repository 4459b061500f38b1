import { Server as Http1Server } from 'node:http'
import net from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { Deadline } from '../base/deadline.ts'
import type { Binding } from './binding.ts'
import { connectionsOf } from './internals.ts'
import { seal } from './seal.ts'
import type { Traffic } from './traffic.ts'

/** How many turns of the event loop must pass without a new connection; Node accepts one per turn. */
const QUIET_TURNS = 5

/** How long the wait for quiet may take, in milliseconds. */
const LONGEST_WAIT = 1_000

/** A place that is listened on, and what accepts there. */
interface Listening {
  readonly acceptor: net.Server
  readonly binding: Binding
}

/**
 * A server's listener: what accepts connections, apart from those it has accepted. Where it listens in several places, the acceptor
 * takes the first, and is handed the connections of the others.
 */
export class Listener {
  readonly #acceptor: net.Server
  readonly #http1: Http1Server | undefined
  readonly #traffic: Traffic
  readonly #places: Listening[] = []
  #backlog = 0

  constructor(
    { acceptor, http1 }: { acceptor: net.Server; http1: Http1Server | undefined },
    traffic: Traffic,
  ) {
    this.#acceptor = acceptor
    this.#http1 = http1
    this.#traffic = traffic
  }

  /** Begins to accept connections in these places; the listener gives them back when it closes. */
  async open(bindings: readonly Binding[], backlog: number): Promise<void> {
    this.#backlog = backlog
    for (const binding of bindings) {
      const isFirst = this.#places.length === 0
      const acceptor = isFirst ? this.#acceptor : forwarder(this.#acceptor)
      await binding.listen(acceptor, backlog)
      this.#places.push({ acceptor, binding })
      // Only now: until it listens, an error is that of the place
      if (!isFirst) acceptor.on('error', (error) => this.#acceptor.emit('error', error))
    }
    limitTogether(this.#acceptors)
  }

  /** Where it listens; empty before. */
  get places(): readonly Listening[] {
    return this.#places
  }

  /**
   * Accepts no more, once the queue of the kernel is empty: closing it resets what is in it. At once where others stay who accept there: what
   * waits is theirs.
   */
  async closeQuietly(limit: Deadline, othersAccept: boolean): Promise<void> {
    if (othersAccept) return this.close()
    const until = limit.atMost(LONGEST_WAIT)
    for (const { acceptor, binding } of this.#places) {
      if (!binding.isSealable || !acceptor.listening) continue
      if (await seal(acceptor, until, this.#backlog)) shut(acceptor)
    }
    await this.#quiet(until)
    this.close()
  }

  async #quiet(until: Deadline): Promise<void> {
    let { accepted } = this.#traffic
    for (let turns = 0; turns < QUIET_TURNS && until.remaining > 0; turns++) {
      await turn()
      if (this.#traffic.accepted !== accepted) turns = -1
      accepted = this.#traffic.accepted
    }
  }

  /** Gives paths back, so that no new connection can come in by them. A failure is told as an `error` event. */
  async release(): Promise<void> {
    for (const { binding } of this.#places) {
      try {
        await binding.release()
      } catch (error) {
        const message = `Giving back ${binding.describe()} failed`
        this.#traffic.emit({ type: 'error', message, error })
      }
    }
  }

  /** Accepts no more, at once. Connections stay, and their timeouts too: `http.Server#close` would end both. */
  close(): void {
    for (const acceptor of [this.#acceptor, ...this.#acceptors]) shut(acceptor)
  }

  /** Ends the own interval of the server for HTTP/1.1, once the last connection is gone: else it holds the server for ever. */
  end(): void {
    if (this.#http1) Http1Server.prototype.close.call(this.#http1)
  }

  get #acceptors(): net.Server[] {
    return this.#places.map(({ acceptor }) => acceptor)
  }
}

function shut(acceptor: net.Server): void {
  if (acceptor.listening) net.Server.prototype.close.call(acceptor)
}

/** Accepts for another one: what comes here goes through the same hands. */
function forwarder(acceptor: net.Server): net.Server {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true })
  server.on('connection', (socket) => acceptor.emit('connection', socket))
  return server.on('drop', (data) => acceptor.emit('drop', data))
}

/** How many connections may be open is said of the server, and Node counts them by acceptor. */
function limitTogether(acceptors: readonly net.Server[]): void {
  const [{ maxConnections: most } = {}] = acceptors
  if (!most || acceptors.length < 2) return
  for (const acceptor of acceptors) {
    const others = acceptors.filter((one) => one !== acceptor)
    const left = (): number => others.reduce((rest, one) => rest - connectionsOf(one), most)
    Object.defineProperty(acceptor, 'maxConnections', { get: left })
  }
}

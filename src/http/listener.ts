import { Server as Http1Server } from 'node:http'
import net from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import type { Deadline } from '../base/deadline.ts'
import type { Binding } from './binding.ts'
import type { Traffic } from './traffic.ts'

/** How many turns of the event loop must pass without a new connection; Node accepts one per turn. */
const QUIET_TURNS = 5

/** How long the wait for quiet may take, in milliseconds. */
const LONGEST_WAIT = 1_000

/** A server's listener: what accepts connections, apart from those it has accepted. */
export class Listener {
  readonly #acceptor: net.Server
  readonly #http1: Http1Server | undefined
  readonly #traffic: Traffic
  #binding: Binding | undefined = undefined

  constructor(
    { acceptor, http1 }: { acceptor: net.Server; http1: Http1Server | undefined },
    traffic: Traffic,
  ) {
    this.#acceptor = acceptor
    this.#http1 = http1
    this.#traffic = traffic
  }

  /** Begins to accept connections at a place; the listener gives it back when it closes. */
  async open(binding: Binding): Promise<void> {
    this.#binding = binding
    await binding.listen(this.#acceptor)
  }

  /** What was bound, as a URL; `undefined` before. */
  get bound(): Binding | undefined {
    return this.#binding
  }

  /** Waits until the queue of the kernel is empty: closing the listener resets what is in it. */
  async quiet(limit: Deadline): Promise<void> {
    const until = limit.atMost(LONGEST_WAIT)
    let { accepted } = this.#traffic
    for (let turns = 0; turns < QUIET_TURNS && until.remaining > 0; turns++) {
      await turn()
      if (this.#traffic.accepted !== accepted) turns = -1
      accepted = this.#traffic.accepted
    }
  }

  /** Gives a path back, so that no new connection can come in by it. A failure is told as an `error` event. */
  async release(): Promise<void> {
    try {
      await this.#binding?.release()
    } catch (error) {
      const message = `Giving back ${this.#binding?.describe()} failed`
      this.#traffic.emit({ type: 'error', message, error })
    }
  }

  /** Accepts no more, at once. Connections stay, and their timeouts too: `http.Server#close` would end both. */
  close(): void {
    if (this.#acceptor.listening) net.Server.prototype.close.call(this.#acceptor)
  }

  /** Ends the own interval of the server for HTTP/1.1, once the last connection is gone: else it holds the server for ever. */
  end(): void {
    if (this.#http1) Http1Server.prototype.close.call(this.#http1)
  }
}

import http from 'node:http'
import { text } from 'node:stream/consumers'

/** What a closed loop of clients has seen. */
export interface Tally {
  ok: number
  failures: string[]
  /** When the last response of each worker came in, by its `Worker` header. */
  lastFrom: Map<string, number>
}

/**
 * So many clients, each of which sends a POST as soon as the last one is answered, on a keep-alive connection of its own.
 * They honour `Connection: close` and never try again. `stop()` lets them finish.
 */
export class ClosedLoop {
  readonly tally: Tally = { ok: 0, failures: [], lastFrom: new Map() }
  readonly #port: number
  readonly #clients: Promise<void>[]
  #state: 'running' | 'stopping' = 'running'

  constructor(port: number, clients: number) {
    this.#port = port
    this.#clients = Array.from({ length: clients }, (_, number) => this.#run(number))
  }

  async stop(): Promise<Tally> {
    this.#state = 'stopping'
    await Promise.all(this.#clients)
    return this.tally
  }

  async #run(number: number): Promise<void> {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    for (let count = 0; this.#state === 'running'; count++) {
      try {
        await this.#post(agent, `client ${number} request ${count}`)
      } catch (error) {
        this.tally.failures.push(String((error as NodeJS.ErrnoException).code ?? error))
      }
    }
    agent.destroy()
  }

  async #post(agent: http.Agent, body: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
    const options = { agent, host: '127.0.0.1', port: this.#port, method: 'POST' }
    http.request(options, resolve).on('error', reject).end(body)
    const response = await promise
    const answer = await text(response)
    if (response.statusCode !== 200 || answer !== body) throw new Error(`${response.statusCode}`)
    this.tally.ok++
    this.tally.lastFrom.set(String(response.headers.worker), performance.now())
  }
}

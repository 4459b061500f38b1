import { StrictClient } from './strict-client.ts'

/** What a closed loop of clients has seen. */
export interface Tally {
  ok: number
  failures: string[]
  /** When the last response of each worker came in, by its `Worker` header. */
  lastFrom: Map<string, number>
}

/**
 * So many clients, each of which sends a POST as soon as the last one is answered, on a keep-alive connection of its own.
 * They honour `Connection: close` and never try again; with `close` they ask for it themselves. `stop()` lets them finish.
 */
export class ClosedLoop {
  readonly tally: Tally = { ok: 0, failures: [], lastFrom: new Map() }
  readonly #port: number
  readonly #clients: Promise<void>[]
  readonly #headers: Readonly<Record<string, string>>
  #state: 'running' | 'stopping' = 'running'

  constructor(port: number, clients: number, kind: 'keep-alive' | 'close' = 'keep-alive') {
    this.#port = port
    this.#headers = kind === 'close' ? { connection: 'close' } : {}
    this.#clients = Array.from({ length: clients }, (_, number) => this.#run(number))
  }

  async stop(): Promise<Tally> {
    this.#state = 'stopping'
    await Promise.all(this.#clients)
    return this.tally
  }

  async #run(number: number): Promise<void> {
    let client = await StrictClient.connect(this.#port)
    for (let count = 0; this.#state === 'running'; count++) {
      try {
        if (!client.isOpen) {
          client.leave()
          client = await StrictClient.connect(this.#port)
        }
        await this.#post(client, `client ${number} request ${count}`)
      } catch (error) {
        this.tally.failures.push(String((error as NodeJS.ErrnoException).code ?? error))
      }
    }
    client.leave()
  }

  async #post(client: StrictClient, text: string): Promise<void> {
    const body = Buffer.from(text)
    const { fate, answer } = await client.over(
      client.ask({ method: 'POST', target: '/', headers: this.#headers, body }),
    )
    if (!answer) throw new Error(fate)
    if (answer.status !== 200 || !answer.body.equals(body)) throw new Error(`${answer.status}`)
    this.tally.ok++
    this.tally.lastFrom.set(String(answer.headers['worker']), performance.now())
  }
}

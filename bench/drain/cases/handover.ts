import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../client.ts'
import type { Outcome } from '../outcome.ts'
import type { Case, Stage } from '../stage.ts'

const CLIENTS = 16

/** How long the clients run before the signal, and after the old process has ended, in milliseconds. */
const AROUND = 200

/** A new process takes over the listening socket while 16 clients ask without a pause, 10 ms away from the server. */
const handover: Case = {
  id: 'handover',
  says: 'hand-over to another process',
  trials: 5,
  async run(stage) {
    const socket = stage.socket()
    const old = await stage.start({}, socket)
    const loop = new ClosedLoop(stage, await stage.distance(old.port))
    await sleep(AROUND)
    await stage.start({}, socket)
    old.signal()
    stage.onlyWaits()
    await old.exit()
    await sleep(AROUND)
    return await loop.stop()
  },
}

/** Each client asks again as soon as it was answered; on a new connection when it was told to, or its own was closed. */
class ClosedLoop {
  readonly #stage: Stage
  readonly #port: number
  readonly #outcomes: Outcome[] = []
  readonly #clients: Promise<void>[]
  #state: 'running' | 'stopping' = 'running'

  constructor(stage: Stage, port: number) {
    this.#stage = stage
    this.#port = port
    this.#clients = Array.from({ length: CLIENTS }, () => this.#run())
  }

  async stop(): Promise<Outcome[]> {
    this.#state = 'stopping'
    await Promise.all(this.#clients)
    return this.#outcomes
  }

  async #run(): Promise<void> {
    let client = await this.#connect()
    while (this.#state === 'running') {
      if (client.toldToClose || !client.isOpen) {
        client[Symbol.dispose]()
        client = await this.#connect()
      }
      this.#outcomes.push(await client.post('/?wait=5'))
    }
  }

  async #connect(): Promise<Client> {
    const [client] = await this.#stage.connect(this.#port, 1)
    return client!
  }
}

export const handoverCases: readonly Case[] = [handover]

import { setTimeout as sleep } from 'node:timers/promises'
import { isLost, type Outcome } from '../outcome.ts'
import type { Case } from '../stage.ts'

/** Long enough for what was written to have been read. */
const READ = 50

const halfHeaders: Case = {
  id: 'half-headers',
  says: 'half a head, completed later',
  trials: 3,
  async run(stage) {
    const subject = await stage.start()
    const clients = await stage.connect(subject.port, 10)
    for (const client of clients) client.begin('GET / HTTP/1.1\r\nHos')
    await sleep(READ)
    subject.signal()
    await sleep(300)
    return Promise.all(clients.map((client) => client.finish('t: bench\r\n\r\n')))
  },
}

/** Nobody can lose anything here but time: the cell says how the connection ends. */
const neverCompleted: Case = {
  id: 'never-completed',
  says: 'half a head, never completed',
  trials: 1,
  async run(stage) {
    const subject = await stage.start()
    const [client] = await stage.connect(subject.port, 1)
    client!.begin('GET / HTTP/1.1\r\nHos')
    await sleep(READ)
    const outcome = client!.outcome()
    subject.signal()
    stage.onlyWaits()
    return [ending(await outcome)]
  },
}

function ending(outcome: Outcome): Outcome {
  if (outcome === 'silent') return 'left open'
  return isLost(outcome) ? 'closed' : outcome
}

const halfBody: Case = {
  id: 'half-body',
  says: 'half a body, completed later',
  trials: 3,
  async run(stage) {
    const subject = await stage.start()
    const clients = await stage.connect(subject.port, 10)
    const head =
      'POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\n'
    for (const client of clients) client.begin(`${head}half`)
    await sleep(READ)
    subject.signal()
    await sleep(300)
    return Promise.all(clients.map((client) => client.finish('body')))
  },
}

export const halfCases: readonly Case[] = [halfHeaders, neverCompleted, halfBody]

import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../client.ts'
import type { Outcome } from '../outcome.ts'
import type { Case, Stage } from '../stage.ts'

/**
 * 50 clients, 10 ms away from the server; each asks once more, 5 to 200 ms after the signal, unless it has seen by then that
 * its connection is closed: the race between a request and the server's FIN.
 */
const asksAgain: Case = {
  id: 'idle',
  says: 'one more POST on idle connections',
  trials: 3,
  async run(stage) {
    const subject = await stage.start()
    const clients = await stage.idle(await stage.distance(subject.port), 50)
    await sleep(50)
    subject.signal()
    return Promise.all(
      clients.map(async (client, nth) => {
        await sleep(5 + (195 * nth) / (clients.length - 1))
        return client.post('/')
      }),
    )
  },
}

const nothing: Case = {
  id: 'nothing',
  says: 'no connection',
  trials: 5,
  alone: true,
  async run(stage) {
    const subject = await stage.start()
    await sleep(100)
    subject.signal()
    return []
  },
}

const hundred: Case = {
  id: 'idle-100',
  says: '100 idle connections',
  trials: 3,
  alone: true,
  run: (stage) => signalledIdle(stage, 100),
}

const MANY = limitOfFiles() > 10_500 ? 10_000 : 2_000

const many: Case = {
  id: 'idle-many',
  says: `${MANY.toLocaleString('en')} idle connections`,
  trials: 1,
  alone: true,
  run: (stage) => signalledIdle(stage, MANY),
}

async function signalledIdle(stage: Stage, clients: number): Promise<Outcome[]> {
  const subject = await stage.start()
  const all: Client[] = []
  // Not more at a time than the accept queue holds
  for (let left = clients; left > 0; left -= 100) all.push(...(await stage.idle(subject.port, 100)))
  subject.signal()
  return Promise.all(all.map(closed))
}

async function closed(client: Client): Promise<Outcome> {
  await client.over
  return client.wasReset ? 'reset while idle' : 'answered'
}

function limitOfFiles(): number {
  const { stdout } = spawnSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' })
  return stdout.trim() === 'unlimited' ? Infinity : Number(stdout)
}

export const idleCases: readonly Case[] = [asksAgain, nothing, hundred, many]

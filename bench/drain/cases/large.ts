import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../client.ts'
import type { Outcome } from '../outcome.ts'
import type { Case } from '../stage.ts'

/** The client begins to read 500 ms after the signal. */
const unflushed: Case = {
  id: 'unflushed',
  says: '20 MB, ended but unflushed',
  trials: 5,
  async run(stage) {
    const subject = await stage.start()
    const [client] = await stage.connect(subject.port, 1, { paused: true })
    const answer = client!.get('/?id=a&size=20000000')
    await subject.runs('a')
    await sleep(50)
    subject.signal()
    await sleep(500)
    client!.read()
    return [await answer]
  },
}

const MEGABYTE = 1_000_000

/** A request is written when half of the response is read. It counts too, unless its client had read that no more may be sent. */
const lateRequest: Case = {
  id: 'late-request',
  says: '1 MB, and a late request',
  trials: 10,
  async run(stage) {
    const subject = await stage.start()
    const [client] = await stage.connect(subject.port, 1, { paused: true })
    const answer = client!.get(`/?id=a&wait=100&size=${MEGABYTE}`)
    await subject.runs('a')
    subject.signal()
    await sleep(200)
    const late = readWithRequest(client!)
    const outcome = await answer
    return [outcome, ...(await Promise.all(late))]
  },
}

/** Reads, and writes a request at half of the response; takes 50 ms off then. Fills in what becomes of it, if it counts. */
function readWithRequest(client: Client): Promise<Outcome>[] {
  const late: Promise<Outcome>[] = []
  client.onRead = (bytes) => {
    if (bytes < MEGABYTE / 2) return
    client.onRead = undefined
    const wasTold = client.toldToClose
    const outcome = client.get('/')
    if (!wasTold) late.push(outcome)
    client.socket.pause()
    setTimeout(() => client.socket.resume(), 50)
  }
  client.read()
  return late
}

const streamed: Case = {
  id: 'stream',
  says: 'a stream of 1 s',
  trials: 3,
  async run(stage) {
    const subject = await stage.start()
    const clients = await stage.connect(subject.port, 5)
    const answers = clients.map((client) => client.get('/?id=a&stream=1000'))
    await subject.runs('a', 5)
    await sleep(100)
    subject.signal()
    return Promise.all(answers)
  },
}

const endless: Case = {
  id: 'endless',
  says: 'a stream that never ends',
  trials: 1,
  async run(stage) {
    const subject = await stage.start()
    const [client] = await stage.connect(subject.port, 1)
    const answer = client!.get('/?id=a&stream=Infinity')
    await subject.runs('a')
    await sleep(100)
    subject.signal()
    stage.onlyWaits()
    return [await answer]
  },
}

export const largeCases: readonly Case[] = [unflushed, lateRequest, streamed, endless]

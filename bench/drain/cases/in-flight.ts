import { setTimeout as sleep } from 'node:timers/promises'
import { isLost, type Outcome } from '../outcome.ts'
import type { Case, Stage } from '../stage.ts'
import type { Subject } from '../subject.ts'

const REQUESTS = 20

const inFlight: Case = {
  id: 'in-flight',
  says: 'in flight, 300 ms each',
  trials: 3,
  async run(stage) {
    const { answers } = await signalledInFlight(stage)
    return Promise.all(answers)
  },
}

const overTls: Case = {
  id: 'https',
  says: 'in flight over HTTPS',
  trials: 3,
  over: 'tls',
  async run(stage) {
    const { answers } = await signalledInFlight(stage)
    return Promise.all(answers)
  },
}

/** Five streams on each of four connections. */
const overHttp2: Case = {
  id: 'http2',
  says: 'in flight over HTTP/2',
  trials: 3,
  over: 'http2',
  async run(stage) {
    const { credentials: tls } = stage
    const subject = await stage.start({ http2: true, ...(tls && { tls }) })
    const clients = await stage.connectHttp2(subject.port, 4)
    const answers = clients.flatMap((client) =>
      Array.from({ length: REQUESTS / 4 }, () => client.get('/?id=a&wait=300')),
    )
    await subject.runs('a', REQUESTS)
    subject.signal()
    return Promise.all(answers)
  },
}

const signalledTwice: Case = {
  id: 'twice',
  says: 'in flight, SIGTERM again after 50 ms',
  trials: 3,
  async run(stage) {
    const { subject, answers } = await signalledInFlight(stage)
    await sleep(50)
    subject.signal()
    return Promise.all(answers)
  },
}

async function signalledInFlight(
  stage: Stage,
): Promise<{ subject: Subject; answers: Promise<Outcome>[] }> {
  const { credentials: tls } = stage
  const subject = await stage.start(tls ? { tls } : {})
  const clients = await stage.connect(subject.port, REQUESTS, { cert: tls?.cert })
  const answers = clients.map((client) => client.get('/?id=a&wait=300'))
  await subject.runs('a', REQUESTS)
  subject.signal()
  return { subject, answers }
}

/** On five connections; each handler takes 100 ms. */
const pipelined: Case = {
  id: 'pipelined',
  says: 'three pipelined at the signal',
  trials: 3,
  async run(stage) {
    const subject = await stage.start()
    const clients = await stage.idle(subject.port, 5)
    const answers = clients.flatMap((client, of) => {
      client.socket.cork()
      const three = [1, 2, 3].map((nth) => `${of}-${nth}`)
      const outcomes = three.map(async (id) => {
        const outcome = await client.get(`/?id=${id}&wait=100`)
        return { id, outcome }
      })
      client.socket.uncork()
      return outcomes
    })
    subject.signal()
    const known = await Promise.all(answers)
    return known.map(({ id, outcome }): Outcome =>
      isLost(outcome) && subject.ran(id) > 0 ? 'executed' : outcome,
    )
  },
}

const neverAnswered: Case = {
  id: 'never-answered',
  says: 'a handler that never answers',
  trials: 1,
  async run(stage) {
    const subject = await stage.start()
    const [client] = await stage.connect(subject.port, 1)
    const answer = client!.get('/?id=a&wait=Infinity')
    await subject.runs('a')
    subject.signal()
    stage.onlyWaits()
    return [await answer]
  },
}

export const inFlightCases: readonly Case[] = [
  inFlight,
  overTls,
  overHttp2,
  signalledTwice,
  pipelined,
  neverAnswered,
]

import { setTimeout as sleep } from 'node:timers/promises'
import type { Outcome } from '../outcome.ts'
import type { Case } from '../stage.ts'

/**
 * Two requests keep the loop busy, one after the other. The signal comes during the first, so it is handled after the
 * second, in the same turn of the loop; what is written during the second is in the kernel's buffers then.
 */
const receiveBuffer: Case = {
  id: 'kernel-buffer',
  says: 'in the kernel’s receive buffer',
  trials: 3,
  async run(stage) {
    const subject = await stage.start()
    const [first, second] = await stage.connect(subject.port, 2)
    const clients = await stage.idle(subject.port, 20)
    void first!.get('/?id=first&block=100')
    await subject.runs('first')
    void second!.get('/?id=second&block=150')
    await sleep(20)
    subject.signal()
    await subject.runs('second')
    return Promise.all(clients.map((client) => client.get('/')))
  },
}

/** 400 clients connect, and write, while the loop is blocked for 500 ms. */
const acceptQueue: Case = {
  id: 'accept-queue',
  says: 'in the accept queue',
  trials: 3,
  async run(stage) {
    const subject = await stage.start()
    const [blocking] = await stage.connect(subject.port, 1)
    void blocking!.get('/?id=a&block=500')
    await subject.runs('a')
    const clients = await stage.connect(subject.port, 400)
    const answers = clients.map((client) => client.get('/'))
    subject.signal()
    return Promise.all(answers)
  },
}

/** 20 clients have connected before the signal, and write for the first time 100 ms after it. */
const fresh: Case = {
  id: 'fresh',
  says: 'first request of a new connection',
  trials: 3,
  async run(stage) {
    const subject = await stage.start()
    const clients = await stage.connect(subject.port, 20)
    await sleep(50)
    subject.signal()
    await sleep(100)
    return Promise.all(clients.map((client): Promise<Outcome> => client.get('/')))
  },
}

export const kernelCases: readonly Case[] = [receiveBuffer, acceptQueue, fresh]

import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, it } from 'node:test'
import { ClosedLoop } from '../helpers/closed-loop.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { within } from '../helpers/within.ts'

const PROGRAM = fileURLToPath(new URL('../programs/handover-worker.ts', import.meta.url))
const TRIALS = 20
const CLIENTS = 48

const running = new Set<ChildProcess>()

/** A process that serves on an inherited socket; `stop` sends SIGTERM and resolves with when it had gone. */
class Worker {
  readonly process: ChildProcess
  output = ''

  constructor(fd: number) {
    this.process = spawn(process.execPath, [PROGRAM], {
      stdio: ['ignore', 'pipe', 'inherit', fd],
    })
    running.add(this.process)
    this.process.once('close', () => running.delete(this.process))
    this.process.stdout!.setEncoding('utf8').on('data', (text: string) => (this.output += text))
  }

  async ready(): Promise<this> {
    while (!this.output.includes('ready')) await once(this.process.stdout!, 'data')
    return this
  }

  async stop(): Promise<number> {
    const exit = within(10_000, once(this.process, 'close'), 'the worker to end')
    this.process.kill('SIGTERM')
    const [code] = await exit
    const gone = performance.now()
    assert.equal(code, 0, this.output)
    return gone
  }
}

describe('a handover of a listening socket', () => {
  afterEach(() => {
    for (const worker of running) worker.kill('SIGKILL')
  })

  it('V3 loses no request: closed-loop POST clients, 20 times over', async () => {
    using socket = new net.BoundSocket({ host: '127.0.0.1' })
    const { port } = socket.address()
    let worker = await new Worker(socket.fd()).ready()
    const clients = new ClosedLoop(port, CLIENTS)
    const ends: number[] = []
    for (let trial = 0; trial < TRIALS; trial++) {
      const next = await new Worker(socket.fd()).ready()
      const gone = await worker.stop()
      const last = clients.tally.lastFrom.get(String(worker.process.pid))
      assert.ok(last, 'the old worker has served')
      assert.match(worker.output, /"cut":0,"left":0/)
      ends.push(gone - last)
      worker = next
    }
    const { ok, failures } = await clients.stop()
    await worker.stop()
    assert.deepEqual(failures, [])
    assert.ok(ok > TRIALS * CLIENTS, `${ok} requests`)
    // On a busy machine the quickest quarter tells; anything that waits by design would slow down every trial
    const quick = ends.toSorted((a, b) => a - b)[TRIALS / 4]!
    assert.ok(quick < 150, `gone ${quick} ms after its last response`)
  })

  it('H3 loses no request of connections that wait in the queue of the last worker', async () => {
    using socket = new net.BoundSocket({ host: '127.0.0.1' })
    const { port } = socket.address()
    const worker = await new Worker(socket.fd()).ready()
    socket.close()
    // Stopped, so that all of them are in the queue when the signal arrives
    worker.process.kill('SIGSTOP')
    const connecting = Array.from({ length: 400 }, () => RawClient.connect(port))
    const clients = await Promise.all(connecting)
    const answers = clients.map((client) => client.request('POST /', 'body').response())
    const gone = worker.stop()
    worker.process.kill('SIGCONT')
    for (const { status, body } of await Promise.all(answers)) {
      assert.deepEqual([status, body], [200, 'body'])
    }
    await gone
    assert.match(worker.output, /"requests":400,"cut":0,"left":0/)
  })
})

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Emit } from '../../src/base/events.ts'
import { Control } from '../../src/supervisor/control.ts'
import type { Figures } from '../../src/supervisor/messages.ts'
import { answer, type Controlled } from '../../src/supervisor/requests.ts'
import { Observer, type Status } from '../../src/supervisor/status.ts'
import type { SupervisorState } from '../../src/supervisor/supervisor.ts'
import { FakeWorld } from '../helpers/fake-world.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { within } from '../helpers/within.ts'

/** Tells what a supervisor tells, when a test says so. */
class FakeSupervisor implements Controlled {
  state: SupervisorState = 'running'
  mayReload = true
  target = 2
  workers: { pid: number; figures: Figures | undefined }[] = []
  readonly asked: string[] = []
  readonly emit: Emit
  readonly #closed = Promise.withResolvers<{ code: 0 | 1 }>()
  #generation = 1

  constructor(emit: Emit) {
    this.emit = emit
  }

  get closed(): Promise<{ code: 0 | 1 }> {
    return this.#closed.promise
  }

  restart(reason: string): void {
    this.asked.push(`restart: ${reason}`)
    this.emit({ type: 'roll.started', generation: ++this.#generation, reason })
  }

  scale(workers: number): string | undefined {
    if (workers === 7) return 'Cannot scale to 7 workers: "lock" is exclusive'
    this.asked.push(`scale ${workers}`)
    this.target = workers
    return undefined
  }

  stop(reason: string): void {
    this.asked.push(`stop: ${reason}`)
    this.state = 'stopping'
    this.emit({ type: 'supervisor.stopping', reason, grace: 25_000 })
  }

  close(clean: boolean): void {
    this.emit({ type: 'supervisor.closed', clean, took: 1 })
    this.#closed.resolve({ code: clean ? 0 : 1 })
  }
}

interface Setup extends Disposable {
  readonly supervisor: FakeSupervisor
  readonly control: Control
  readonly world: FakeWorld
  readonly path: string
  connect(): Promise<RawClient>
}

async function listening(): Promise<Setup> {
  const folder = temporaryFolder()
  const world = new FakeWorld()
  const observer = new Observer({ service: 'app.ts', pid: 1, world })
  const supervisor = new FakeSupervisor(observer.follow)
  const prepare = (): void => void supervisor.asked.push('prepare')
  const control = new Control({
    world,
    answer: (line) => answer(line, { supervisor, observer, prepare }),
  })
  const path = join(folder.path, 'c.sock')
  await control.listen(path)
  const clients: RawClient[] = []
  return {
    supervisor,
    control,
    world,
    path,
    async connect() {
      const client = await RawClient.connect(path)
      clients.push(client)
      return client
    },
    [Symbol.dispose]() {
      for (const client of clients) client[Symbol.dispose]()
      control.close()
      folder[Symbol.dispose]()
    },
  }
}

type Parsed = { ok: boolean; error?: string; status?: Status; [field: string]: unknown }

/** The next line that comes. */
async function line(client: RawClient): Promise<Parsed> {
  while (!client.received.includes('\n')) {
    if (client.ended || client.error) throw new Error('It hung up without an answer')
    await within(5_000, Promise.race([once(client.socket, 'data'), once(client.socket, 'close')]))
  }
  const [first, ...rest] = client.received.split('\n')
  client.received = rest.join('\n')
  return JSON.parse(first!) as Parsed
}

async function ask(client: RawClient, request: object): Promise<Parsed> {
  client.send(`${JSON.stringify(request)}\n`)
  return line(client)
}

const first = { slot: 0, pid: 10, generation: 1 }
const second = { slot: 1, pid: 11, generation: 1 }

describe('the control socket', () => {
  it('V11 is of mode 0600 from the moment on at which it listens, whatever the umask', async () => {
    const before = process.umask(0)
    try {
      using setup = await listening()
      assert.equal(statSync(setup.path).mode & 0o777, 0o600)
      assert.equal(process.umask(), 0)
    } finally {
      process.umask(before)
    }
  })

  it('V11 tells the status: what each worker does, which code it runs, how often its slot died', async () => {
    using setup = await listening()
    const { emit } = setup.supervisor
    for (const url of ['http://a', 'unix:/b']) {
      emit({ type: 'supervisor.listening', url, workers: 2 })
    }
    emit({ type: 'worker.starting', ...first })
    emit({ type: 'worker.starting', ...second })
    emit({ type: 'worker.ready', took: 5, ...first })
    await setup.world.advance(1_000)
    emit({ type: 'worker.gone', age: 1, code: null, signal: 'SIGKILL', cause: 'killed', ...second })
    const figures = { served: 7, connections: 3, underWay: 1, oldest: 12, busy: 0.5, delay: 2, heap: 1_024, rss: 2_048 } // oxfmt-ignore
    setup.supervisor.workers = [{ pid: 10, figures }]
    const { status } = await ask(await setup.connect(), { do: 'status' })
    assert.deepEqual(
      { ...status, since: undefined },
      {
        service: 'app.ts', pid: 1, url: 'http://a', urls: ['http://a', 'unix:/b'], state: 'running', since: undefined, age: 1_000, target: 2, generation: 1,
        workers: [
          { slot: 0, state: 'ready', pid: 10, generation: 1, age: 1_000, restarts: 0, figures },
          { slot: 1, state: 'down', restarts: 1 },
        ],
      },
    ) // oxfmt-ignore
  })

  it('V9 tells which worker hangs, until it comes back', async () => {
    using setup = await listening()
    const client = await setup.connect()
    const stateOf = async (): Promise<unknown> =>
      (await ask(client, { do: 'status' })).status!.workers[0]!.state
    const { emit } = setup.supervisor
    emit({ type: 'worker.starting', ...first })
    emit({ type: 'worker.ready', took: 5, ...first })
    emit({ type: 'worker.hung', after: 30_000, underWay: 0, stack: '    at spin', ...first })
    assert.equal(await stateOf(), 'hung')
    emit({ type: 'worker.retiring', reason: 'its event loop was blocked', ...first })
    assert.equal(await stateOf(), 'ready')
    emit({ type: 'worker.stopping', reason: 'retired', ...first })
    assert.equal(await stateOf(), 'stopping')
  })

  it('V2 answers a reload that is waited for when it has ended', async () => {
    using setup = await listening()
    const client = await setup.connect()
    client.send('{"do":"reload","wait":true}\n')
    const other = await setup.connect()
    // The first one has been asked when a later one on the same loop is answered
    while ((await ask(other, { do: 'status' })).status!.generation !== 2);
    assert.equal(client.received, '')
    setup.supervisor.emit({ type: 'roll.ended', generation: 2, took: 1_500 })
    assert.deepEqual(await line(client), { ok: true, generation: 2, took: 1_500 })
  })

  it('V2 says why a reload has failed, and goes on saying so until one succeeds', async () => {
    using setup = await listening()
    const client = await setup.connect()
    const { emit } = setup.supervisor
    assert.deepEqual(await ask(client, { do: 'reload' }), { ok: true, generation: 2 })
    const fresh = { slot: 0, pid: 12, generation: 2 }
    emit({ type: 'worker.starting', ...fresh })
    client.send('{"do":"reload","wait":true}\n')
    const other = await setup.connect()
    while ((await ask(other, { do: 'status' })).status!.generation !== 3);
    emit({ type: 'worker.starting', slot: 0, pid: 13, generation: 3 })
    const end = { age: 1, code: 1, signal: null, cause: 'its start failed: no database' }
    emit({ type: 'worker.gone', slot: 0, pid: 13, generation: 3, ...end })
    emit({ type: 'roll.failed', generation: 3, took: 9 })
    const reason = 'worker 0 (process 13): its start failed: no database'
    assert.deepEqual(await line(client), { ok: false, error: `Cannot reload: ${reason}` })
    const { status } = await ask(client, { do: 'status' })
    assert.deepEqual(status!.failed, { generation: 3, reason })
    assert.equal(status!.workers[0]!.restarts, 0)
    await ask(client, { do: 'reload' })
    emit({ type: 'roll.ended', generation: 4, took: 9 })
    assert.equal((await ask(client, { do: 'status' })).status!.failed, undefined)
  })

  it('V13 says that a worker was not ready in time, and not that somebody killed it', async () => {
    using setup = await listening()
    const client = await setup.connect()
    const { emit } = setup.supervisor
    await ask(client, { do: 'reload' })
    const fresh = { slot: 0, pid: 12, generation: 2 }
    emit({ type: 'worker.starting', ...fresh })
    emit({ type: 'worker.killed', doing: 'starting', after: 60_000, ...fresh })
    const killed = { age: 1, code: null, signal: 'SIGKILL', cause: 'killed: by the kernel' }
    emit({ type: 'worker.gone', ...fresh, ...killed })
    emit({ type: 'roll.failed', generation: 2, took: 9 })
    const { failed } = (await ask(client, { do: 'status' })).status!
    assert.match(failed!.reason, /it was not ready within 60 s, and was killed/)
  })

  it('V14 ends a reload that a stop comes into with a failure', async () => {
    using setup = await listening()
    const client = await setup.connect()
    client.send('{"do":"reload","wait":true}\n')
    const other = await setup.connect()
    while ((await ask(other, { do: 'status' })).status!.generation !== 2);
    assert.deepEqual(await ask(other, { do: 'stop' }), { ok: true })
    const error = 'Cannot reload: the service stops (control)'
    assert.deepEqual(await line(client), { ok: false, error })
    const refused = { ok: false, error: 'Cannot reload: the service stops' }
    assert.deepEqual(await ask(client, { do: 'reload' }), refused)
  })

  it('refuses a reload before the first worker is ready', async () => {
    using setup = await listening()
    setup.supervisor.state = 'starting'
    setup.supervisor.mayReload = false
    const { ok, error } = await ask(await setup.connect(), { do: 'reload', wait: true })
    assert.deepEqual([ok, setup.supervisor.asked], [false, []])
    assert.match(error!, /^Cannot reload: no worker is ready yet/)
  })

  it('V5 scales, from 1 to 9999', async () => {
    using setup = await listening()
    const client = await setup.connect()
    assert.deepEqual(await ask(client, { do: 'scale', to: 4 }), { ok: true, workers: 4 })
    for (const to of [0, -1, 1.5, 10_000, '4', null, undefined]) {
      const { ok, error } = await ask(client, { do: 'scale', to })
      assert.equal(ok, false)
      assert.match(error!, /^Cannot scale to .*: give a whole number from 1 to 9999$/)
    }
    assert.deepEqual(setup.supervisor.asked, ['scale 4'])
  })

  it('L14 has the service prepared with the next worker when a reload asks for it, and only then', async () => {
    using setup = await listening()
    const client = await setup.connect()
    assert.equal((await ask(client, { do: 'reload', prepare: true })).ok, true)
    assert.equal((await ask(client, { do: 'reload', prepare: false })).ok, true)
    const asked = ['prepare', 'restart: control', 'restart: control']
    assert.deepEqual(setup.supervisor.asked, asked)
    const { ok, error } = await ask(client, { do: 'reload', prepare: 1 })
    const words = 'Cannot reload with 1 (number) as "prepare": give true or false'
    assert.deepEqual([ok, error], [false, words])
  })

  it('R21 answers with why it does not scale', async () => {
    using setup = await listening()
    const { ok, error } = await ask(await setup.connect(), { do: 'scale', to: 7 })
    assert.deepEqual([ok, error], [false, 'Cannot scale to 7 workers: "lock" is exclusive'])
    assert.deepEqual(setup.supervisor.asked, [])
  })

  it('answers a stop that is waited for when the last worker is gone', async () => {
    using setup = await listening()
    const client = await setup.connect()
    client.send('{"do":"stop","wait":true}\n')
    const other = await setup.connect()
    while ((await ask(other, { do: 'status' })).status!.state !== 'stopping');
    assert.equal(client.received, '')
    setup.supervisor.close(false)
    assert.deepEqual(await line(client), { ok: true, clean: false })
  })

  const wrong: [string, RegExp][] = [
    ['nonsense', /^Cannot read "nonsense" \(string\): it is no JSON; ask with/],
    ['[]', /^Cannot read an array of 0: a request is one JSON object; ask with/],
    ['null', /^Cannot read null: a request is/],
    ['{}', /^Cannot do undefined: ask with .* status, reload, scale, stop$/],
    ['{"do":"upgrade"}', /^Cannot do "upgrade" \(string\): ask with/],
    ['{"do":"toString"}', /^Cannot do "toString"/],
    ['{"do":"__proto__"}', /^Cannot do "__proto__"/],
    ['{"do":{"a":1}}', /^Cannot do an object/],
    ['{"do":"status","verbose":1}', /^Cannot status with "verbose" .*: there is no such field$/],
    ['{"do":"stop","wait":"yes"}', /^Cannot stop with "yes" \(string\) as "wait"/],
    ['\u0000\u00ff', /it is no JSON/],
    [`"${'x'.repeat(1_000)}"`, /^Cannot read "x{60}" \(string\)/],
  ]
  for (const [request, expected] of wrong) {
    it(`V11 answers ${JSON.stringify(request.slice(0, 30))} with what is wrong, and goes on`, async () => {
      using setup = await listening()
      const client = await setup.connect()
      client.send(`${request}\n`)
      const { ok, error } = await line(client)
      assert.equal(ok, false)
      assert.match(error!, expected)
      assert.deepEqual(setup.supervisor.asked, [])
      assert.equal((await ask(client, { do: 'status' })).ok, true)
    })
  }

  it('puts halves of lines together, and takes several at once, in order', async () => {
    using setup = await listening()
    const client = await setup.connect()
    client.send('{"do":"sca')
    client.send('le","to":3}\n\n  \n{"do":"scale","to":5}\r\n{"do":"sta')
    assert.deepEqual(await line(client), { ok: true, workers: 3 })
    assert.deepEqual(await line(client), { ok: true, workers: 5 })
    client.send('tus"}\n')
    assert.equal((await line(client)).status!.target, 5)
  })

  it('takes what was sent before the client closed its side for a line, and hangs up after', async () => {
    using setup = await listening()
    const client = await setup.connect()
    client.socket.end('{"do":"scale","to":3}')
    assert.deepEqual(await line(client), { ok: true, workers: 3 })
    await within(5_000, once(client.socket, 'close'), 'the end')
  })

  it('V11 hangs up on a line that is longer than any request', async () => {
    using setup = await listening()
    for (const end of ['', '\n']) {
      const client = await setup.connect()
      client.send(`{"do":"${'x'.repeat(5_000)}${end}`)
      assert.match((await line(client)).error!, /its line is longer than 4096 characters/)
      await client.closed
    }
    assert.equal((await ask(await setup.connect(), { do: 'status' })).ok, true)
  })

  it('survives clients that go away without a word, or in the middle of a wait', async () => {
    using setup = await listening()
    for (const text of ['', '{"do"', '{"do":"status"}\n', '{"do":"reload","wait":true}\n']) {
      const client = await setup.connect()
      client.send(text)
      client.socket.destroy()
    }
    const client = await setup.connect()
    while ((await ask(client, { do: 'status' })).status!.generation !== 2);
    setup.supervisor.emit({ type: 'roll.ended', generation: 2, took: 1 })
    assert.equal((await ask(client, { do: 'status' })).ok, true)
  })

  it('V11 serves 32 clients, tells the next one, and takes it when one has gone', async () => {
    using setup = await listening()
    const clients: RawClient[] = []
    for (let count = 0; count < 32; count++) clients.push(await setup.connect())
    for (const client of clients) assert.equal((await ask(client, { do: 'status' })).ok, true)
    const late = await setup.connect()
    assert.match((await line(late)).error!, /^Cannot take another client: 32 are connected/)
    await late.closed
    clients[0]!.socket.end()
    await within(5_000, once(clients[0]!.socket, 'close'), 'the end')
    assert.equal((await ask(await setup.connect(), { do: 'status' })).ok, true)
  })

  it('V11 hangs up on a client that asks nothing for 30 s, and not on one that waits', async () => {
    using setup = await listening()
    const idle = await setup.connect()
    const waiting = await setup.connect()
    await ask(idle, { do: 'status' })
    waiting.send('{"do":"stop","wait":true}\n')
    while ((await ask(idle, { do: 'status' })).status!.state !== 'stopping');
    await setup.world.advance(30_000)
    await idle.closed
    setup.supervisor.close(true)
    assert.deepEqual(await line(waiting), { ok: true, clean: true })
  })

  it('is removed when it is closed; closing it again does nothing', async () => {
    using setup = await listening()
    setup.control.close()
    setup.control.close()
    assert.equal(existsSync(setup.path), false)
  })
})

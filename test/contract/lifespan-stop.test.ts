import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { perApp, serve, service, start, stopping } from '../../src/index.ts'
import type { FetchApp, Running } from '../../src/index.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import {
  hello,
  messagesOf,
  never,
  portOf,
  quietly,
  stuckAtEnd,
  traced,
} from '../helpers/services.ts'
import { Told } from '../helpers/told.ts'
import { stewardErrorOf, Trace } from '../helpers/traced.ts'

describe('a stop', () => {
  it('H5 asked for again, with a shorter window for idle connections, has that one, before the drain as well', async () => {
    const telling = new Gate()
    const told = new Gate()
    const onShutdown = async (): Promise<void> => {
      telling.open()
      await told.opened
    }
    const running = await serve(service({ app: hello, onShutdown }), quietly)
    using client = await RawClient.connect(portOf(running))
    await client.request('GET /').response()
    const { stop } = running as unknown as { stop(why: string, manner: object): Promise<void> }
    const leaving = stop.call(running, 'roll', { idle: 60_000 })
    await telling.opened
    const began = performance.now()
    const stopped = running.stop('stop')
    told.open()
    await client.fin()
    await Promise.all([leaving, stopped])
    const took = performance.now() - began
    assert.ok(took < 5_000, `${took} ms`)
  })

  it('L5 runs onShutdown while every connection is open', async () => {
    const trace = new Trace()
    const handling = new Gate()
    const connected = new Gate<RawClient>()
    const app: FetchApp = {
      fetch: async (incoming) => {
        if (incoming.url.endsWith('/late')) return new Response('still served')
        handling.open()
        await new Promise((resolve) => stop.signal.addEventListener('abort', resolve))
        return new Response('told')
      },
    }
    const stop = new AbortController()
    const telling = service({
      app,
      resources: { stopping },
      async onShutdown({ stopping }) {
        trace.add(`stopping ${stopping.aborted}`)
        using late = await RawClient.connect(portOf(running))
        trace.add((await late.request('GET /late').response()).body)
        trace.add(`connected ${!(await connected.opened).ended}`)
        stop.abort()
      },
    })
    await using running = await serve(telling, quietly)
    using client = await RawClient.connect(portOf(running))
    connected.open(client)
    client.request('GET /')
    await handling.opened
    const report = await running.stop()
    assert.deepEqual(trace.take(), ['stopping true', 'still served', 'connected true'])
    assert.equal((await client.response()).body, 'told')
    assert.equal(report.clean, true)
  })

  it('L6 drains, then runs onDrained, then the lifespan, then closes resources; each kind in reverse', async () => {
    const trace = new Trace()
    const running = await serve(traced(trace), {
      ...quietly,
      on: ({ type }) => type === 'drain.ended' && trace.add('drained'),
    })
    trace.take()
    assert.equal((await running.stop()).clean, true)
    assert.deepEqual(trace.take(), [
      'onShutdown 2', 'onShutdown 1', 'drained', 'onDrained 2', 'onDrained 1', 'lifespan ends',
      'close pool', 'closed pool', 'close db', 'closed db',
    ]) // oxfmt-ignore
  })

  it('L6 runs every hook whatever the others do, and reports every failure', async () => {
    const ran: string[] = []
    const fail = (name: string) => () => {
      ran.push(name)
      throw new Error(name)
    }
    const db = perApp(async function* () {
      yield 'db'
      fail('db')()
    })
    const failing = service({
      resources: { db },
      onShutdown: [fail('onShutdown 1'), fail('onShutdown 2')],
      onDrained: [fail('onDrained 1'), fail('onDrained 2')],
      async *lifespan() {
        yield
        fail('lifespan')()
      },
    })
    const running = await start(failing)
    const { clean, errors } = await running.stop()
    const order = ['onShutdown 2', 'onShutdown 1', 'onDrained 2', 'onDrained 1', 'lifespan', 'db']
    assert.deepEqual(ran, order)
    assert.equal(clean, false)
    assert.deepEqual(messagesOf(errors), [
      'Cannot finish onShutdown 2: onShutdown 2', 'Cannot finish onShutdown 1: onShutdown 1',
      'Cannot finish onDrained 2: onDrained 2', 'Cannot finish onDrained 1: onDrained 1',
      'Cannot finish lifespan after its yield: lifespan', 'db',
    ]) // oxfmt-ignore
    const disposing = await stewardErrorOf(running[Symbol.asyncDispose]())
    assert.equal(disposing.code, 'ERR_CLOSE')
    assert.equal(disposing.errors.length, 6)
  })

  it('L6 refuses a lifespan that yields twice, never, or is no generator', async () => {
    async function* twice(): AsyncGenerator<void, void, void> {
      yield
      yield
    }
    async function* none(): AsyncGenerator<void, void, void> {}
    const running = await start(service({ lifespan: twice }))
    const { clean, errors } = await running.stop()
    assert.equal(clean, false)
    assert.deepEqual(messagesOf(errors), [
      'Cannot end the lifespan: it yielded a second time, yield once where the service runs',
    ])
    const missing = await stewardErrorOf(start(service({ lifespan: none })))
    assert.equal(missing.code, 'ERR_LIFESPAN')
    assert.equal(
      missing.message,
      'Cannot run the lifespan: it ended without a yield, yield once where the service runs',
    )
    const plain = await stewardErrorOf(start(service({ lifespan: (() => 3) as never })))
    assert.match(plain.message, /^Cannot run the lifespan: it gave 3 \(number\), write it as/)
  })

  it('L7 names and abandons what outlives its share, and still runs the rest', async () => {
    const trace = new Trace()
    const told = new Told()
    const stuck = perApp({ db: trace.app('db') }, async function* () {
      yield 'stuck'
      await never
    })
    const options = {
      resources: { stuck },
      onShutdown: [() => trace.add('onShutdown 1'), () => never],
      onDrained: [() => trace.add('onDrained 1'), () => never],
      lifespan: stuckAtEnd,
      gracefulTimeout: '1s',
    } as const
    const running = await start(service(options), { on: told.on })
    trace.take()
    const began = performance.now()
    const { clean, errors } = await running.stop()
    assert.ok(performance.now() - began < 1_100, `took ${performance.now() - began} ms`)
    assert.equal(clean, false)
    assert.deepEqual(trace.take(), ['onShutdown 1', 'onDrained 1', 'close db', 'closed db'])
    const late = told.all('hook.late').map(({ name }) => name)
    assert.deepEqual(late, ['onShutdown 2', 'onDrained 2', 'lifespan after its yield'])
    assert.deepEqual(
      told.all('resource.late').map(({ name }) => name),
      ['stuck'],
    )
    assert.equal(errors.length, 4)
    for (const error of errors) {
      assert.match(String(error), /Cannot wait for .* (had not ended|was not closed) after \d+ ms/)
    }
  })

  it('L7 waits for work given to run, then names and abandons it', async () => {
    const db = perApp(() => 'db')
    const running = await start(service({ resources: { db }, gracefulTimeout: '300ms' }))
    const begun = new Gate()
    const quick = running.run({ db }, async () => begun.opened)
    void running.run({ db }, () => never)
    begun.open()
    const { clean, errors } = await running.stop()
    await quick
    assert.equal(clean, false)
    assert.match(
      String(errors[0]),
      /Cannot wait for run\(\{ db \}\): it had not ended \d+ ms after it began/,
    )
    assert.equal(errors.length, 1)
  })

  it('L8 gives every caller the same promise', async () => {
    const running = await start(service({ app: hello }))
    const stops = [running.stop('first'), running.stop('second'), running.force()]
    assert.ok(stops.every((one) => one === stops[0]))
    const report = await stops[0]
    assert.equal(running.state, 'closed')
    assert.equal(running.stop('third'), stops[0])
    assert.equal(await running.closed, report)
  })

  it('L8 may be called before the start, and again from a hook', async () => {
    const trace = new Trace()
    const before = await stewardErrorOf(
      serve(traced(trace), { ...quietly, signal: AbortSignal.abort() }),
    )
    assert.equal(before.code, 'ERR_STOPPING')
    assert.deepEqual(trace.take(), [])
    const told = new Told()
    const running: Running = await start(
      service({
        app: hello,
        onShutdown: () => void running.stop('again'),
        onDrained: () => void running.stop('again'),
      }),
      { on: told.on },
    )
    assert.equal((await running.stop()).clean, true)
    assert.equal(told.all('service.stopping').length, 1)
    assert.equal(told.all('service.closed').length, 1)
  })

  it('L8 refuses fetch and run after it, in words', async () => {
    const db = perApp(() => 'db')
    const running = await start(service({ app: hello, resources: { db } }))
    await running.stop()
    assert.equal((await stewardErrorOf(running.fetch('/'))).code, 'ERR_STOPPING')
    assert.equal((await stewardErrorOf(running.run({ db }, () => 1))).code, 'ERR_SCOPE_CLOSED')
  })
})

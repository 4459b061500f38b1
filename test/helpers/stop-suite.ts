import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { stopping } from '../../src/scope/builtin.ts'
import { perApp } from '../../src/scope/resource.ts'
import { serve } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { route, watchedHandler, watchedRequest, type Door } from './door.ts'
import { Counter, Gate } from './gate.ts'
import { RawClient } from './raw-client.ts'
import { quietly } from './services.ts'
import { within } from './within.ts'

const CLIENTS = 20

/** The same answers before, during and after the stop, whatever the framework. */
export function addStopTests(door: Door): void {
  describe(`${door.name}, at the stop`, () => {
    it('L5 H1 answers before, during and after the first moment of the stop, and then no more', async () => {
      const [inHandler, duck, leave] = [new Gate(), new Gate(), new Gate()]
      const told: string[] = []
      const pool = perApp(async function* () {
        yield 'pool'
        told.push('pool closed')
      })
      const app = door.app({
        '/': route({ pool }, ({ pool }) => ({ body: pool })),
        '/slow': route({ pool, stopping }, async ({ pool, stopping }) => {
          inHandler.open()
          await leave.opened
          told.push(`slow ${stopping.aborted}`)
          return { body: `slow ${pool}` }
        }),
        '/upload': route({ pool }, async (_, asked) => ({ body: await asked.text() })),
        '/stream': route({ pool }, () => ({ body: pieces(leave) })),
      })
      const onShutdown = async (): Promise<void> => {
        assert.equal((await once(port, 'GET /')).body, 'pool')
        told.push('onShutdown')
        duck.open()
      }
      const running = await serve(service({ app, onShutdown }), quietly)
      const port = Number(new URL(running.url).port)
      assert.equal((await once(port, 'GET /')).body, 'pool')
      using slow = await RawClient.connect(port)
      slow.request('GET /slow')
      using stream = await RawClient.connect(port)
      await stream.request('GET /stream').sees('one')
      using upload = await RawClient.connect(port)
      upload.send('POST /upload HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nhalf')
      await within(2_000, inHandler.opened, 'the handler')
      const stopped = running.stop()
      await within(2_000, duck.opened, 'onShutdown')
      upload.send('half')
      leave.open()
      const answers = [await slow.response(), await stream.response(), await upload.response()]
      assert.deepEqual(
        answers.map(({ status, body }) => [status, body]),
        [
          [200, 'slow pool'],
          [200, 'one two'],
          [200, 'halfhalf'],
        ],
      )
      assert.equal(answers[0]!.headers['connection'], 'close')
      const { clean, served } = await stopped
      assert.deepEqual([clean, served.cut], [true, 0])
      assert.deepEqual(told, ['onShutdown', 'slow true', 'pool closed'])
      await assert.rejects(once(port, 'GET /'))
    })

    it('V3 loses no request of a drain under load, and closes every scope once', async () => {
      const { resource: unit, opened, closed } = watchedRequest()
      const { resource: tx, endings } = watchedHandler()
      const answered = new Counter()
      const app = door.app({
        '/': route({ unit, tx }, ({ unit }) => {
          answered.add()
          return { status: 201, body: `${unit.id}` }
        }),
      })
      const running = await serve(service({ app }), quietly)
      const port = Number(new URL(running.url).port)
      const clients = Array.from({ length: CLIENTS }, () => untilClosed(port))
      await within(5_000, answered.reached(CLIENTS * 10), 'the load')
      const { clean, served } = await running.stop()
      const all = await within(5_000, Promise.all(clients), 'the clients')
      const whole = all.reduce((sum, one) => sum + one, 0)
      assert.deepEqual([clean, served.cut, served.requests], [true, 0, whole])
      assert.deepEqual([opened.count, closed.count, endings.length], [whole, whole, whole])
      assert.ok(endings.every(({ ok }) => ok))
    })

    for (const leaves of [false, true]) {
      it(`L7 is not kept waiting by a handler that never ends${leaves ? ', though its client has left' : ''}`, async () => {
        const { resource: unit, opened, closed } = watchedRequest()
        const told: string[] = []
        const app = door.app({ '/': route({ unit }, () => new Promise<never>(() => {})) })
        const running = await serve(service({ app, gracefulTimeout: '1s' }), {
          ...quietly,
          on: ({ type }) => told.push(type),
        })
        using client = await RawClient.connect(Number(new URL(running.url).port))
        client.request('GET /')
        await within(5_000, opened.reached(1), 'the handler')
        if (leaves) client.reset()
        const { clean, served } = await within(3_000, running.stop(), 'the stop')
        assert.deepEqual([clean, served.cut, closed.count], [false, 1, 1])
        assert.ok(told.includes('handler.abandoned'))
      })
    }

    it('H10 R11 answers 503 for a handler that outlives the grace, and takes its work back', async () => {
      const { resource: tx, opened, endings } = watchedHandler()
      const leave = new Gate()
      const app = door.app({
        '/': route({ tx }, async () => {
          await leave.opened
          return { status: 201, body: 'ordered' }
        }),
      })
      const running = await serve(service({ app, gracefulTimeout: '1s' }), {
        ...quietly,
        on: ({ type }) => type === 'request.cut' && leave.open(),
      })
      const asked = once(Number(new URL(running.url).port), 'POST /')
      await within(5_000, opened.reached(1), 'the handler')
      const stopped = running.stop()
      const { status, headers } = await within(5_000, asked, 'the 503')
      assert.deepEqual([status, headers['retry-after']], [503, '1'])
      const { clean, served } = await stopped
      assert.deepEqual([clean, served.cut], [false, 1])
      assert.deepEqual(
        endings.map(({ ok, status }) => [ok, status]),
        [[false, 503]],
      )
    })
  })
}

async function* pieces(leave: Gate): AsyncGenerator<string> {
  yield 'one '
  await leave.opened
  yield 'two'
}

async function once(port: number, line: string): ReturnType<RawClient['response']> {
  using client = await RawClient.connect(port)
  return await client.request(line).response()
}

/** Asks again and again over one connection, as long as it is told that it may. Gives how many answers it had. */
async function untilClosed(port: number): Promise<number> {
  using client = await RawClient.connect(port)
  for (let answers = 1; ; answers++) {
    const { status, headers } = await client.request('POST /').response()
    assert.equal(status, 201)
    if (headers['connection'] === 'close') return answers
  }
}

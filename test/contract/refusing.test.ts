import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { serve, service, type ServeOptions } from '../../src/index.ts'
import { Gate } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { Told } from '../helpers/told.ts'
import { turns } from '../helpers/within.ts'

const OPTIONS = { port: 0, signals: false } as const

describe('a stop', () => {
  it('P5 ends its drain delay early, when no request but probes has come for the quiet time', async () => {
    const told = new Told()
    const options = { drainDelay: '20s', drainQuiet: '200ms', gracefulTimeout: '25s' } as const
    const running = await serve(service({ app }), { ...OPTIONS, ...options, on: told.on })
    using client = await connect(running.url)
    const stopped = running.stop()
    await told.event('service.stopping')
    assert.equal((await client.request('GET /readyz').response()).status, 503)
    const { took, clean } = await stopped
    assert.equal(clean, true)
    assert.ok(took.stopping >= 195 && took.stopping < 2_000, `${took.stopping} ms`)
  })

  it('P5 goes on with its drain delay as long as requests come', async () => {
    const told = new Told()
    const options = { drainDelay: '600ms', drainQuiet: '300ms' } as const
    const running = await serve(service({ app }), { ...OPTIONS, ...options, on: told.on })
    const stopped = running.stop()
    let draining = false
    void told.event('service.draining').then(() => (draining = true))
    while (!draining) await (await fetch(running.url).catch(() => undefined))?.text()
    const { took } = await stopped
    assert.ok(took.stopping >= 595, `${took.stopping} ms`)
  })

  for (const stage of ['stopping', 'draining'] as const) {
    it(`answers new requests 503 from ${stage} on when it is told to, but probes, and runs no handler`, async () => {
      const gate = new Gate()
      const told = new Told()
      const handled: string[] = []
      const slow = async (request: Request): Promise<Response> => {
        handled.push(new URL(request.url).pathname)
        if (request.url.endsWith('/slow')) await gate.opened
        return new Response('served')
      }
      const options: ServeOptions = { ...OPTIONS, refuse: stage, on: told.on, drainDelay: '300ms' }
      const running = await serve(service({ app: { fetch: slow } }), options)
      using first = await connect(running.url)
      using idle = await connect(running.url)
      await idle.request('GET /before').response()
      first.request('GET /slow')
      while (handled.length < 2) await turns(1)
      const stopped = running.stop()
      await told.event(stage === 'stopping' ? 'service.stopping' : 'service.draining')
      const { status, headers } = await idle.request('POST /late').response()
      assert.deepEqual([status, headers['retry-after'], headers['connection']], [503, '1', 'close'])
      gate.open()
      assert.equal((await first.response()).body, 'served')
      const { served, clean } = await stopped
      assert.deepEqual(served, { requests: 2, cut: 0, left: 0, refused: 1 })
      assert.equal(clean, true)
      assert.deepEqual(handled, ['/before', '/slow'])
    })
  }

  it('H12 answers a client that waits to send its body 503, and never 100 first', async () => {
    const told = new Told()
    const options: ServeOptions = {
      ...OPTIONS,
      refuse: 'stopping',
      on: told.on,
      drainDelay: '300ms',
    }
    const running = await serve(service({ app }), options)
    using client = await connect(running.url)
    await client.request('GET /').response()
    const stopped = running.stop()
    await told.event('service.stopping')
    client.send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
    assert.equal((await client.response()).status, 503)
    await stopped
  })

  it('P4 leaves readiness as it is where a balancer knows of the stop by other means', async () => {
    const told = new Told()
    const options: ServeOptions = { ...OPTIONS, health: { keepReady: true }, drainDelay: '200ms' }
    const running = await serve(service({ app }), { ...options, on: told.on })
    using client = await connect(running.url)
    await client.request('GET /').response()
    const stopped = running.stop()
    await told.event('service.stopping')
    assert.equal((await client.request('GET /readyz').response()).status, 200)
    await stopped
  })
})

describe('options of a stop that make no sense', () => {
  const refused: [string, ServeOptions, RegExp][] = [
    ['a delay that leaves nothing', { gracefulTimeout: '5s', drainDelay: '5s' }, /^Cannot stop within 5000 ms with a drain delay of 5000 ms/],
    ['a quiet time as long as the delay', { drainDelay: '2s', drainQuiet: '2s' }, /^Cannot end a drain delay of 2000 ms after 2000 ms of quiet/],
    ['a stage that does not exist', { refuse: 'closing' as never }, /^Cannot use "closing" \(string\) as "refuse"/],
    ['a limit that does not exist', { limits: { body: 1 } as never }, /^Cannot use "body" in "limits"/],
    ['no limit for heads', { limits: { headers: '0s' } }, /^Cannot use "0s" as "limits.headers"/],
    ['a limit that is no number', { limits: { connections: 0.5 } }, /^Cannot use 0.5 \(number\) as "limits.connections"/],
    ['a time that no timer reaches', { limits: { send: '577h' } }, /^Cannot use "577h" as "limits.send": it is longer than 24 days/],
    ['a limit without a unit', { limits: { send: 5 as never } }, /as "limits.send": it is not a duration/],
  ] // oxfmt-ignore
  for (const [what, options, message] of refused) {
    it(`X1 refuses ${what} in words, before anything is started`, async () => {
      const opened: string[] = []
      const described = service({ app, onStartup: () => void opened.push('started') })
      await assert.rejects(serve(described, { ...OPTIONS, ...options }), {
        code: 'ERR_BAD_OPTION',
        message,
      })
      assert.deepEqual(opened, [])
    })
  }

  it('warns of a delay that reaches into what is kept back, with both values', async () => {
    const told = new Told()
    const options: ServeOptions = { gracefulTimeout: '5s', drainDelay: '4500ms', on: told.on }
    await using _ = await serve(service({ app }), { ...OPTIONS, ...options })
    const { message } = await told.event('warning')
    assert.match(message, /^A drain delay of 4500 ms is cut short to 4000 ms: of the 5000 ms/)
    const last = _.force()
    await last
  })
})

const app = { fetch: () => new Response('hello') }

function connect(url: string): Promise<RawClient> {
  return RawClient.connect(Number(new URL(url).port))
}

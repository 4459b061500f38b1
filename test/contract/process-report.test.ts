import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { perApp, service, start } from '../../src/index.ts'
import type { Waiting } from '../../src/index.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { MAIN, Program, type Line } from '../helpers/program.ts'
import { freePort } from '../helpers/services.ts'
import { Told } from '../helpers/told.ts'

const clean = { code: 0, signal: null }
const unclean = { code: 1, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

describe('probes', together, () => {
  it('P4 are ready while every critical check passes, and tell no error', async () => {
    using program = Program.serve('checked.ts')
    const ready = await program.get('/readyz')
    assert.equal(ready.status, 200)
    const { checks } = JSON.parse(ready.body) as { checks: Record<string, { ok: boolean }> }
    assert.deepEqual(
      Object.entries(checks).map(([name, { ok }]) => [name, ok]),
      [
        ['critical', true],
        ['other', true],
      ],
    )
    await program.get('/break/other')
    const other = await program.get('/readyz')
    assert.equal(other.status, 200)
    assert.match(other.body, /"other":\{"ok":false,"critical":false/)
    await program.get('/break/critical')
    const critical = await program.get('/readyz')
    assert.equal(critical.status, 503)
    assert.doesNotMatch(critical.body, /secret|postgres/)
    assert.equal((await program.get('/livez')).status, 200)
  })

  it('P4 have the names that they are given, or are the app’s', async () => {
    using named = Program.serve('checked.ts', ['--health-live', '/up', '--health-ready', '/ok'])
    using none = Program.serve('checked.ts', ['--no-health'])
    const bodies = [named.get('/up'), named.get('/livez'), none.get('/livez'), none.get('/readyz')]
    const [up, livez, ...rest] = (await Promise.all(bodies)).map(({ body }) => body)
    assert.deepEqual(
      [up, livez, ...rest],
      ['{"live":true}', 'app /livez', 'app /livez', 'app /readyz'],
    )
    assert.equal((await named.get('/ok')).status, 200)
  })

  it('P4 turn at once when the service stops; P5 the lame duck serves on', async () => {
    using program = Program.serve('busy.ts', ['--drain-delay', '600ms'])
    await program.url()
    program.signal('SIGTERM')
    await program.event('app.told')
    const [ready, live, served] = await Promise.all(
      ['/readyz', '/livez', '/'].map((path) => program.get(path)),
    )
    assert.deepEqual([ready?.status, ready?.body], [503, '{"ready":false,"state":"stopping"}'])
    assert.equal(live?.status, 200)
    assert.deepEqual(
      [served?.status, served?.body, served?.headers['connection']],
      [200, 'hello', 'close'],
    )
    assert.deepEqual(await program.exit(), clean)
    const { took } = (await program.event('service.closed')) as { took?: { stopping: number } }
    assert.ok(took!.stopping >= 590, `${took!.stopping} ms`)
  })

  it('P5 a second signal ends the lame duck', async () => {
    using program = Program.serve('busy.ts', ['--drain-delay', '20s'])
    await program.url()
    program.signal('SIGTERM')
    await program.event('app.told')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
    const { took } = (await program.event('service.closed')) as { took?: { stopping: number } }
    assert.ok(took!.stopping < 5_000, `${took!.stopping} ms`)
  })
})

describe('what a stop tells', together, () => {
  it('P6 says what it waits for: once in the log, P7 and a summary at the end', async () => {
    using program = Program.serve('busy.ts', ['--graceful-timeout', '4s'])
    using client = await program.connect()
    client.request('GET /hang?secret=1')
    await program.event('app.handling')
    await program.get('/')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), unclean)
    const waits = program.lines.filter(({ event }) => event === 'drain.waiting')
    assert.equal(waits.length, 1)
    const [waiting] = waits[0]!['for'] as Waiting[]
    assert.deepEqual([waiting?.kind, waiting?.what], ['request', 'GET /hang'])
    assert.ok(waiting!.age >= 1_000)
    const { served, took } = (await program.event('service.closed')) as {
      served?: object
      took?: Record<string, number>
    }
    assert.deepEqual(served, { requests: 2, cut: 1, left: 0, refused: 0 })
    assert.deepEqual(Object.keys(took!), ['stopping', 'draining', 'closing'])
    assert.ok(took!['draining']! > 2_000)
  })

  it('P6 names hooks and resources, every second', async () => {
    const never = new Promise<never>(() => {})
    const stuck = perApp(async function* () {
      yield 1
      await never
    })
    const told = new Told()
    const definition = service({
      resources: { stuck },
      onShutdown: () => never,
      gracefulTimeout: '7s',
    })
    const running = await start(definition, { world: fastWorld(10), on: told.on })
    await running.stop()
    const said = told
      .all('drain.waiting')
      .flatMap((event) => event.for.map(({ kind, what }) => `${kind} ${what}`))
    assert.ok(said.includes('hook onShutdown'), String(said))
    assert.ok(said.filter((one) => one === 'resource closing stuck').length >= 3, String(said))
  })

  it('P8 lists what holds the event loop, and exits anyway', async () => {
    using program = Program.serve('held.ts')
    await program.url()
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    const by = (await program.event('process.held'))['by'] as string[]
    const text = by.join('\n')
    assert.match(text, /^Timeout$/m)
    assert.match(text, /^TCPServerWrap \(listening on 127\.0\.0\.1:\d+\)$/m)
    assert.match(text, /^2 × TCPSocketWrap \(to 127\.0\.0\.1:\d+, to 127\.0\.0\.1:\d+\)$/m)
    assert.equal(by.length, 3, text)
  })

  it('P8 lists nothing when nothing holds it', async () => {
    using program = Program.serve('busy.ts')
    await program.get('/')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('process.held'), [])
  })

  it('H17 is gone within 100 ms of the signal with nothing in flight', async () => {
    // By the program's own clock, from the first moment of the stop to its last; the best of three, since the machine is shared
    const times: number[] = []
    for (let round = 0; round < 3; round++) {
      using program = Program.serve('busy.ts')
      await program.get('/')
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), clean)
      const { at } = (await program.event('app.exit')) as { at?: number }
      times.push(at! - timeOf(await program.event('service.stopping')))
    }
    assert.ok(Math.min(...times) < 100, `${times.join(', ')} ms`)
  })
})

describe('the budget', together, () => {
  it('L7 bounds everything that is late at once, and names it', async () => {
    using program = Program.serve('stuck.ts', ['--graceful-timeout', '1s'])
    using hanging = await program.connect()
    using opening = await program.connect()
    hanging.request('GET /hang')
    opening.request('GET /opens')
    await Promise.all([program.event('app.handling'), program.event('app.opening')])
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), unclean)
    const took =
      timeOf(await program.event('service.closed')) -
      timeOf(await program.event('service.stopping'))
    assert.ok(took <= 1_100, `${took} ms`)
    const names = (event: string): string[] =>
      program.lines
        .filter((line) => line.event === event)
        .map((line) => String(line['name'] ?? line['url']))
        .toSorted()
    assert.deepEqual(names('hook.late'), ['lifespan after its yield', 'onDrained', 'onShutdown'])
    assert.deepEqual(names('resource.late'), ['stuckClose', 'stuckOpen'])
    assert.deepEqual(names('request.cut'), ['/hang', '/opens'])
    assert.deepEqual(names('handler.abandoned'), ['/hang', '/opens'])
    assert.deepEqual(program.names('app.closed'), ['app.closed'])
  })
})

describe('the place', together, () => {
  it('P12 is every interface when PORT is set and no host given, else 127.0.0.1', async () => {
    const hostOf = async (args: string[], env: Record<string, string>): Promise<string> => {
      using program = new Program([MAIN, 'serve', HELLO, ...args], { env })
      const { hostname } = new URL(await program.url())
      program.signal('SIGTERM')
      await program.exit()
      return hostname
    }
    const PORT = String(await freePort())
    assert.equal(await hostOf([], { PORT }), '[::]')
    assert.equal(await hostOf(['--host', '127.0.0.1'], { PORT }), '127.0.0.1')
    assert.equal(await hostOf(['--port', PORT], {}), '127.0.0.1')
    assert.equal(await hostOf(['--port', PORT], { PORT: '' }), '127.0.0.1')
  })
})

const HELLO = 'test/programs/hello.ts'

/** By the program's clock. */
function timeOf(line: Line): number {
  return Date.parse(String(line['time']))
}

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { service, serve, perApp } from '../../src/index.ts'
import type { Waiting } from '../../src/index.ts'
import { MAIN, Program, type Line } from '../helpers/program.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { Told } from '../helpers/told.ts'
import { within } from '../helpers/within.ts'

const clean = { code: 0, signal: null }
const unclean = { code: 1, signal: null }

/** A connection to a program that serves. */
async function connect(program: Program): Promise<RawClient> {
  return RawClient.connect(Number(new URL(await program.url()).port))
}

/** One answer of a program, on a connection of its own that does not stay. */
async function get(
  program: Program,
  path: string,
): Promise<{ status: number; body: string; headers: Record<string, string> }> {
  using client = await connect(program)
  return client.send(`GET ${path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n`).response()
}

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

describe('signals', together, () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`P1 stops in order on ${signal}`, async () => {
      using program = Program.serve('busy.ts')
      assert.equal((await get(program, '/')).body, 'hello')
      program.signal(signal)
      assert.deepEqual(await program.exit(), clean)
      assert.equal((await program.event('service.stopping'))['reason'], signal)
      const order = program.names('app.told', 'listener.closed', 'app.closed', 'service.closed')
      assert.deepEqual(order, [
        'app.told',
        'listener.closed',
        'app.closed',
        'app.closed',
        'service.closed',
      ])
    })
  }

  it('P1 answers at once from a handler that loops until the stop', async () => {
    using program = Program.serve('busy.ts')
    using client = await connect(program)
    client.request('GET /loop')
    await program.event('app.handling')
    program.signal('SIGTERM')
    const { status, body, headers } = await client.response()
    assert.deepEqual([status, body, headers['connection']], [200, 'stopped', 'close'])
    assert.deepEqual(await program.exit(), clean)
  })

  it('P1 counts the same signal twice within 500 ms as one', async () => {
    using program = Program.serve('busy.ts')
    using client = await connect(program)
    client.send('POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe')
    await program.event('app.handling')
    program.signal('SIGTERM')
    await program.event('service.stopping')
    program.signal('SIGTERM')
    await program.event('listener.closed')
    client.send('llo')
    assert.equal((await client.response()).body, 'hello')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('service.forced'), [])
  })

  it('P1 forces on the same signal later: cuts, then closes in order within the close reserve', async () => {
    using program = Program.serve('busy.ts', ['--graceful-timeout', '5s'])
    using client = await connect(program)
    client.request('GET /hang')
    await program.event('app.handling')
    program.signal('SIGTERM')
    // Told one second after the stop
    await program.event('drain.waiting')
    program.signal('SIGTERM')
    assert.equal((await client.response()).status, 503)
    assert.deepEqual(await program.exit(), unclean)
    const forced = await program.event('service.forced')
    assert.equal(forced['grace'], 1_000)
    const took = timeOf(await program.event('service.closed')) - timeOf(forced)
    assert.ok(took <= 1_100, `${took} ms`)
    const closed = program.lines.filter(({ event }) => event === 'app.closed')
    assert.deepEqual(
      closed.map(({ name }) => name),
      ['pool', 'db'],
    )
    assert.deepEqual(program.names('request.cut', 'handler.abandoned'), [
      'request.cut',
      'handler.abandoned',
    ])
  })

  it('P1 forces on another signal at once, and ends the process on a third', async () => {
    using program = Program.serve('busy.ts', [], { env: { CLOSE: 'stuck' } })
    await program.url()
    program.signal('SIGTERM')
    await program.event('app.closing')
    program.signal('SIGINT')
    await program.event('service.forced')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), unclean)
    assert.deepEqual(program.names('service.closed'), [])
  })

  it('P1 forces a start that does not heed the stop', async () => {
    using program = Program.serve('slow-start.ts', ['--graceful-timeout', '10s'])
    await program.event('app.opening')
    program.signal('SIGTERM')
    await program.event('service.stopping')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), unclean)
    const took =
      timeOf(await program.event('service.closed')) - timeOf(await program.event('service.forced'))
    assert.ok(took <= 2_200, `${took} ms`)
    assert.deepEqual(program.names('app.closed'), ['app.closed'])
  })

  it('P1 ends a process that is still loading its module', async () => {
    using program = Program.serve('loads-slowly.ts')
    await program.event('app.loading')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.equal(program.stderr, '')
  })
})

describe('exit codes', together, () => {
  it('P2 is 0 when nothing was cut', async () => {
    using program = Program.serve('busy.ts')
    await get(program, '/')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('P2 is 1 when a request was cut, a hook failed or a close failed', async () => {
    using cut = Program.serve('busy.ts', ['--graceful-timeout', '300ms'])
    using hook = Program.serve('busy.ts', [], { env: { HOOK: 'throws' } })
    using close = Program.serve('busy.ts', [], { env: { CLOSE: 'throws' } })
    using client = await connect(cut)
    client.request('GET /hang')
    await Promise.all([cut.event('app.handling'), hook.url(), close.url()])
    for (const program of [cut, hook, close]) {
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), unclean)
      assert.equal((await program.event('service.closed'))['clean'], false)
    }
  })

  it('P2 is 143 or 130 on request, but only after a clean stop', async () => {
    const codes = [['SIGTERM', ''], ['SIGINT', ''], ['SIGTERM', 'throws']] as const // oxfmt-ignore
    const exits = codes.map(async ([signal, HOOK]) => {
      using program = Program.serve('busy.ts', ['--signal-exit-codes'], { env: { HOOK } })
      await program.url()
      program.signal(signal)
      return (await program.exit()).code
    })
    assert.deepEqual(await Promise.all(exits), [143, 130, 1])
  })

  it('P2 flushes what is printed to a slow reader', async () => {
    using program = Program.serve('chatty.ts')
    await program.url()
    program.child.stdout!.pause()
    const said = new Promise((resolve) => program.child.stderr!.once('data', resolve))
    program.signal('SIGTERM')
    await within(10_000, said, 'the output')
    program.child.stdout!.resume()
    assert.deepEqual(await program.exit(), clean)
    assert.equal(program.names('app.said').length, 3_000)
    assert.equal(program.names().at(-1), 'service.closed')
  })

  it('P2 is not disturbed by a reader that has gone', async () => {
    using program = Program.serve('busy.ts')
    const url = await program.url()
    program.child.stdout!.destroy()
    assert.equal(await (await fetch(url)).text(), 'hello')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.equal(program.stderr, '')
  })
})

describe('errors that nobody caught', together, () => {
  for (const [path, message] of [
    ['/throw', 'nobody caught this'],
    ['/reject', 'nobody awaited this'],
  ] as const) {
    it(`P3 are logged and stop in order, exit 1: ${path}`, async () => {
      using program = Program.serve('busy.ts')
      assert.equal((await get(program, path)).status, 200)
      assert.deepEqual(await program.exit(), unclean)
      const { error } = (await program.event('error')) as {
        error?: { message: string; stack: string }
      }
      assert.equal(error?.message, message)
      assert.match(error.stack, /busy\.ts/)
      const order = program.names('error', 'app.told', 'app.closed', 'service.closed')
      assert.deepEqual(order, ['error', 'app.told', 'app.closed', 'app.closed', 'service.closed'])
    })
  }

  it('P3 during the drain skip no closing', async () => {
    using program = Program.serve('busy.ts', [], { env: { HOOK: 'loses' } })
    await get(program, '/throw')
    assert.deepEqual(await program.exit(), unclean)
    assert.deepEqual(program.names('error', 'app.closed'), [
      'error',
      'error',
      'app.closed',
      'app.closed',
    ])
    const { errors } = (await program.event('service.closed')) as { errors?: { message: string }[] }
    assert.deepEqual(
      errors?.map(({ message }) => message),
      ['nobody caught this', 'another one'],
    )
  })

  it('P3 are printed where serve() in code has no listener', async () => {
    using program = Program.run('loses-in-code.ts')
    assert.deepEqual(await program.exit(), unclean)
    assert.match(
      program.stderr,
      /steward: nobody caught this\n {2}Error: nobody caught this\n.*loses-in-code\.ts/,
    )
    assert.deepEqual(program.names(), ['app.closed'])
  })
})

describe('probes', together, () => {
  it('P4 are ready while every critical check passes, and tell no error', async () => {
    using program = Program.serve('checked.ts')
    const ready = await get(program, '/readyz')
    assert.equal(ready.status, 200)
    const { checks } = JSON.parse(ready.body) as { checks: Record<string, { ok: boolean }> }
    assert.deepEqual(
      Object.entries(checks).map(([name, { ok }]) => [name, ok]),
      [
        ['critical', true],
        ['other', true],
      ],
    )
    await get(program, '/break/other')
    const other = await get(program, '/readyz')
    assert.equal(other.status, 200)
    assert.match(other.body, /"other":\{"ok":false,"critical":false/)
    await get(program, '/break/critical')
    const critical = await get(program, '/readyz')
    assert.equal(critical.status, 503)
    assert.doesNotMatch(critical.body, /secret|postgres/)
    assert.equal((await get(program, '/livez')).status, 200)
  })

  it('P4 have the names that they are given, or are the app’s', async () => {
    using named = Program.serve('checked.ts', ['--health-live', '/up', '--health-ready', '/ok'])
    using none = Program.serve('checked.ts', ['--no-health'])
    const bodies = [
      get(named, '/up'),
      get(named, '/livez'),
      get(none, '/livez'),
      get(none, '/readyz'),
    ]
    const [up, livez, ...rest] = (await Promise.all(bodies)).map(({ body }) => body)
    assert.deepEqual(
      [up, livez, ...rest],
      ['{"live":true}', 'app /livez', 'app /livez', 'app /readyz'],
    )
    assert.equal((await get(named, '/ok')).status, 200)
  })

  it('P4 turn at once when the service stops; P5 the lame duck serves on', async () => {
    using program = Program.serve('busy.ts', ['--drain-delay', '600ms'])
    await program.url()
    program.signal('SIGTERM')
    await program.event('app.told')
    const [ready, live, served] = await Promise.all(
      ['/readyz', '/livez', '/'].map((path) => get(program, path)),
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
    using client = await connect(program)
    client.request('GET /hang?secret=1')
    await program.event('app.handling')
    await get(program, '/')
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
    assert.deepEqual(served, { requests: 2, cut: 1, left: 0 })
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
    const running = await serve(definition, { port: 0, signals: false, on: told.on })
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
    await get(program, '/')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('process.held'), [])
  })

  it('H17 is gone within 100 ms of the signal with nothing in flight', async () => {
    // By the program's own clock, from the first moment of the stop to its last; the best of three, since the machine is shared
    const times: number[] = []
    for (let round = 0; round < 3; round++) {
      using program = Program.serve('busy.ts')
      await get(program, '/')
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
    using hanging = await connect(program)
    using opening = await connect(program)
    hanging.request('GET /hang')
    opening.request('GET /opens')
    await Promise.all([program.event('app.handling'), program.event('app.opening')])
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), unclean)
    const took =
      timeOf(await program.event('service.closed')) -
      timeOf(await program.event('service.stopping'))
    assert.ok(took <= 1_100, `${took} ms`)
    const names = (event: string): unknown[] =>
      program.lines
        .filter((line) => line.event === event)
        .map((line) => line['name'] ?? line['url'])
    assert.deepEqual(names('hook.late'), ['onShutdown', 'onDrained', 'lifespan after its yield'])
    assert.deepEqual(names('resource.late').toSorted(), ['stuckClose', 'stuckOpen'])
    assert.deepEqual(names('request.cut').toSorted(), ['/hang', '/opens'])
    assert.deepEqual(names('handler.abandoned').toSorted(), ['/hang', '/opens'])
    assert.deepEqual(program.names('app.closed'), ['app.closed'])
  })
})

describe('the watchdog', { concurrency: 3 }, () => {
  const LINE = /^steward: killing the process: the stop had not ended 2000 ms after SIGTERM; .+\n$/

  /** SIGTERM to a program whose loop is blocked; gives how long it lived on. */
  async function killed(program: Program): Promise<void> {
    const blocking = await program.event('app.blocking')
    const began = performance.now()
    if (blocking['what'] !== 'close') program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: null, signal: 'SIGKILL' })
    const took = performance.now() - began
    assert.ok(took > 1_800 && took < 4_000, `${took} ms`)
    assert.match(program.stderr, LINE)
  }

  it('P11 kills a process whose loop was blocked before the signal came', async () => {
    using program = Program.serve('busy.ts', ['--graceful-timeout', '1s'])
    using client = await connect(program)
    client.request('GET /block')
    await killed(program)
  })

  it('P11 kills a process whose close blocks the loop', async () => {
    using program = Program.serve('busy.ts', ['--graceful-timeout', '1s'], {
      env: { CLOSE: 'block' },
    })
    await program.url()
    program.signal('SIGTERM')
    await killed(program)
  })

  it('P11 kills a process whose start blocks the loop', async () => {
    using program = Program.serve('blocks-start.ts', ['--graceful-timeout', '1s'])
    await killed(program)
  })

  it('P11 kills after the close reserve when it was forced', async () => {
    using program = Program.serve('busy.ts', ['--graceful-timeout', '20s'], {
      env: { CLOSE: 'block' },
    })
    await program.url()
    program.signal('SIGTERM')
    await program.event('app.blocking')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), { code: null, signal: 'SIGKILL' })
    assert.match(program.stderr, /the stop had not ended 5000 ms after a second signal, SIGINT/)
  })

  it('P11 can be turned off', async () => {
    const args = ['--graceful-timeout', '1s', '--no-watchdog']
    using program = Program.serve('busy.ts', args, { env: { BLOCK_FOR: '2500' } })
    using client = await connect(program)
    client.request('GET /block')
    await program.event('app.blocking')
    program.signal('SIGTERM')
    assert.equal((await client.response()).body, 'unblocked')
    assert.deepEqual(await program.exit(), clean)
  })
})

describe('the place', together, () => {
  it('P12 is every interface when PORT is set and no host given, else 127.0.0.1', async () => {
    const hostOf = async (args: string[], env: Record<string, string>): Promise<string> => {
      using program = new Program([MAIN, 'serve', HELLO, ...args], { env })
      return new URL(await program.url()).hostname
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

async function freePort(): Promise<number> {
  await using running = await serve(service({}), { port: 0, signals: false })
  return Number(new URL(running.url).port)
}

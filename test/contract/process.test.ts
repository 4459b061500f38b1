import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Program, type Line } from '../helpers/program.ts'
import { within } from '../helpers/within.ts'

const clean = { code: 0, signal: null }
const unclean = { code: 1, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

describe('signals', together, () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`P1 stops in order on ${signal}`, async () => {
      using program = Program.alone('busy.ts')
      assert.equal((await program.get('/')).body, 'hello')
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
    using program = Program.alone('busy.ts')
    using client = await program.connect()
    client.request('GET /loop')
    await program.event('app.handling')
    program.signal('SIGTERM')
    const { status, body, headers } = await client.response()
    assert.deepEqual([status, body, headers['connection']], [200, 'stopped', 'close'])
    assert.deepEqual(await program.exit(), clean)
  })

  it('P1 counts the same signal twice within 500 ms as one', async () => {
    using program = Program.alone('busy.ts')
    using client = await program.connect()
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
    using program = Program.alone('busy.ts', ['--graceful-timeout', '5s'])
    using client = await program.connect()
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
    using program = Program.alone('busy.ts', [], { env: { CLOSE: 'stuck' } })
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
    using program = Program.alone('slow-start.ts', ['--graceful-timeout', '10s'])
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
    using program = Program.alone('loads-slowly.ts')
    await program.event('app.loading')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.equal(program.stderr, '')
  })
})

describe('exit codes', together, () => {
  it('P2 is 0 when nothing was cut', async () => {
    using program = Program.alone('busy.ts')
    await program.get('/')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('P2 is 1 when a request was cut, a hook failed or a close failed', async () => {
    using cut = Program.alone('busy.ts', ['--graceful-timeout', '300ms'])
    using hook = Program.alone('busy.ts', [], { env: { HOOK: 'throws' } })
    using close = Program.alone('busy.ts', [], { env: { CLOSE: 'throws' } })
    using client = await cut.connect()
    client.request('GET /hang')
    await Promise.all([cut.event('app.handling'), hook.url(), close.url()])
    for (const program of [cut, hook, close]) {
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), unclean)
      assert.equal((await program.event('service.closed'))['clean'], false)
    }
  })

  it('P2 is never 0 when the app ends the process itself while it serves', async () => {
    using program = Program.alone('busy.ts')
    using client = await program.connect()
    client.request('GET /exit')
    assert.deepEqual(await program.exit(), unclean)
    assert.match(
      program.stderr,
      /^steward: the process has ended while it served: nothing was closed/m,
    )
  })

  it('P2 is 143 or 130 on request, but only after a clean stop', async () => {
    const codes = [['SIGTERM', ''], ['SIGINT', ''], ['SIGTERM', 'throws']] as const // oxfmt-ignore
    const exits = codes.map(async ([signal, HOOK]) => {
      using program = Program.alone('busy.ts', ['--signal-exit-codes'], { env: { HOOK } })
      await program.url()
      program.signal(signal)
      return (await program.exit()).code
    })
    assert.deepEqual(await Promise.all(exits), [143, 130, 1])
  })

  it('P2 flushes what is printed to a slow reader', async () => {
    using program = Program.alone('chatty.ts')
    await program.url()
    program.child.stdout!.pause()
    const said = new Promise((resolve) => program.child.stderr!.once('data', resolve))
    program.signal('SIGTERM')
    await within(10_000, said, 'the output')
    program.child.stdout!.resume()
    assert.deepEqual(await program.exit(), clean)
    assert.equal(program.names('app.said').length, 3_000)
    assert.deepEqual(program.names('service.closed'), ['service.closed'])
  })

  it('P2 is not disturbed by a reader that has gone', async () => {
    using program = Program.alone('busy.ts')
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
      using program = Program.alone('busy.ts')
      assert.equal((await program.get(path)).status, 200)
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
    using program = Program.alone('busy.ts', [], { env: { HOOK: 'loses' } })
    await program.get('/throw')
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

/** By the program's clock. */
function timeOf(line: Line): number {
  return Date.parse(String(line['time']))
}

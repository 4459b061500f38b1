import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ClosedLoop } from '../helpers/closed-loop.ts'
import { freePort, Inspected } from '../helpers/inspected.ts'
import { pause } from '../helpers/pause.ts'
import type { Line } from '../helpers/program.ts'
import { gone, Supervised } from '../helpers/supervised.ts'

const clean = { code: 0, signal: null }
const unclean = { code: 1, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

/** Long enough for a limit of a second to have passed thrice: nothing tells of what does not happen. */
const LONG = 2_500

describe('a worker whose event loop is blocked', together, () => {
  for (const [what, path, where] of [
    [
      'a loop without end',
      '/block',
      /^ {4}at \/block \(file:\/\/.*\/programs\/supervised\.ts:\d+:\d+\)\n/,
    ],
    [
      'a regular expression',
      '/regex',
      /^ {4}at \/regex \(file:\/\/.*\/programs\/supervised\.ts:\d+:\d+\)\n/,
    ],
  ] as const) {
    // oxfmt-ignore
    it(`V9 by ${what} is reported with its stack, then replaced, the successor first`, async () => {
      using program = await Supervised.ready(1, ['--hang-timeout', '1s'])
      using client = await program.connect()
      client.request(`GET ${path}`)
      const { pid } = await program.event('app.blocking')
      const hung = await program.event('worker.hung')
      assert.deepEqual([hung['pid'], hung['after']], [pid, 1_000])
      assert.match(String(hung['stack']), where)
      const { cause } = await program.event('worker.gone')
      assert.equal(cause, 'killed: its event loop was blocked; the requests on it are lost')
      assert.deepEqual(program.names('worker.hung', 'worker.ready', 'worker.killed', 'worker.gone'), [
        'worker.ready', 'worker.hung', 'worker.ready', 'worker.killed', 'worker.gone',
      ])
      assert.equal((await program.get('/')).status, 200)
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), clean)
    })
  }

  for (const [what, path, args, trouble] of [
    ['the system', '/system', [], /a call of the system, such as execSync/],
    ['a loop, with no second thread', '/block', ['--no-watchdog'], /no thread .*--no-watchdog/],
  ] as const) {
    it(`V9 by ${what} has no stack to tell, says why, and is replaced all the same`, async () => {
      using program = await Supervised.ready(1, ['--hang-timeout', '1s', ...args])
      void program.get(path).catch(() => {})
      const hung = await program.event('worker.hung')
      assert.equal(hung['stack'], '')
      assert.match(String(hung['trouble']), trouble)
      await program.event('worker.gone')
      assert.equal((await program.get('/')).status, 200)
    })
  }

  it('V9 that comes back answers, and stops in order when its successor is ready', async () => {
    using program = await Supervised.ready(1, ['--hang-timeout', '1s'])
    const answer = program.get('/busy')
    await program.event('worker.hung')
    // Its successor is kept from being ready before it comes back
    process.kill(Number((await program.nth('worker.starting', 2))['pid']), 'SIGSTOP')
    assert.equal((await answer).body, 'free again')
    await program.event('worker.retiring')
    process.kill(Number((await program.nth('worker.starting', 2))['pid']), 'SIGCONT')
    const { cause, code } = await program.event('worker.gone')
    assert.deepEqual([cause, code], ['', 0])
    assert.deepEqual(program.names('worker.killed'), [])
  })

  for (const limit of ['1s', '30s']) {
    it(`P11 V7 holds no stop up beyond a second: hung after ${limit}`, async () => {
      const env = { GRACE: '1500ms' }
      using program = await Supervised.ready(2, ['--hang-timeout', limit], { env })
      void program.get('/block').catch(() => {})
      await program.event('app.blocking')
      if (limit === '1s') await program.event('worker.hung')
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), unclean)
      const took = between(await program.event('supervisor.stopping'), await program.event('supervisor.closed')) // oxfmt-ignore
      assert.ok(took >= 2_400 && took < 4_000, `${took} ms`)
    })
  }

  it('P11 V7 that is killed at the end of a stop is told of with its stack', async () => {
    using program = await Supervised.ready(1, [], { env: { GRACE: '3500ms' } })
    void program.get('/block').catch(() => {})
    await program.event('app.blocking')
    program.signal('SIGTERM')
    const { doing, stack } = await program.event('worker.killed')
    assert.equal(doing, 'stopping')
    assert.match(String(stack), /^ {4}at \/block \(file:.*supervised\.ts:/)
    assert.deepEqual(await program.exit(), unclean)
  })

  it('V9 is left alone where that is turned off', async () => {
    using program = await Supervised.ready(1, ['--hang-timeout', 'off'])
    assert.equal((await program.get('/busy')).body, 'free again')
    assert.deepEqual(program.names('worker.hung', 'worker.retiring'), [])
  })
})

describe('limits', together, () => {
  it('V15 count no time in which the supervisor is suspended, or everything is', async () => {
    using program = await Supervised.ready(2, ['--hang-timeout', '1s'])
    const supervisor = program.child.pid!
    const workers = [await program.pid(1), await program.pid(2)]
    for (const suspended of [[supervisor], [supervisor, ...workers]]) {
      await suspend(suspended)
      await pause(LONG / 2)
    }
    assert.deepEqual(program.names('worker.hung', 'worker.killed', 'worker.gone'), [])
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('V15 of a start and of a stop neither', async () => {
    const env = { STEPS: '1', GRACE: '3s' }
    using program = new Supervised(1, ['--boot-timeout', '2s'], { env })
    const { pid } = await program.event('hook.started')
    const all = [program.child.pid!, Number(pid)]
    await suspend(all)
    await program.event('worker.ready')
    using client = await program.connect()
    client.request('GET /slow')
    await program.event('app.handling')
    program.signal('SIGTERM')
    await program.event('service.draining')
    await suspend(all)
    await program.exit()
    assert.deepEqual(program.names('worker.killed'), [])
  })

  it('V13 end a start that tells nothing for so long, and say so', async () => {
    const env = { HOLD: 'start' }
    using program = new Supervised(1, ['--boot-timeout', '1s', '--log', 'json'], { env })
    const { doing } = await program.event('worker.killed')
    assert.deepEqual([await program.exit(), doing], [unclean, 'starting'])
    const { cause } = await program.event('worker.gone')
    assert.equal(cause, 'killed: its start took too long')
  })

  it('V13 are put off by each step of a start', async () => {
    using program = await Supervised.ready(1, ['--boot-timeout', '2s'], { env: { STEPS: '5' } })
    assert.ok(Number((await program.event('worker.ready'))['took']) > 3_000)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('V9 do not run while a debugger has paused a worker', async () => {
    const env = { NODE_OPTIONS: `--inspect-port=${await freePort()}` }
    using program = await Supervised.ready(1, ['--hang-timeout', '1s'], { env })
    await using debugged = await Inspected.attach(program, await program.pid())
    const answer = program.get('/')
    await debugged.pause()
    await pause(LONG)
    await debugged.resume()
    assert.equal((await answer).status, 200)
    assert.deepEqual(program.names('worker.hung', 'worker.killed'), [])
    // Node itself waits at its end until the debugger has gone
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('V9 do not run while somebody looks with a debugger at where a worker is blocked', async () => {
    const port = await freePort()
    const env = { NODE_OPTIONS: `--inspect-port=${port}` }
    using program = await Supervised.ready(1, ['--hang-timeout', '2s'], { env })
    const pid = await program.pid()
    void program.get('/block').catch(() => {})
    await program.event('app.blocking')
    process.kill(pid, 'SIGUSR1')
    await Inspected.isOpen(program)
    await pause(LONG)
    assert.deepEqual(program.names('worker.hung', 'worker.killed'), [])
  })
})

describe('a worker that has served long enough', together, () => {
  it('V6 is replaced after so many requests, again and again, and none is lost', async () => {
    const args = ['--max-requests', '300', '--max-requests-jitter', '300']
    using program = await Supervised.ready(2, args)
    const port = await program.port()
    const loops = [new ClosedLoop(port, 4), new ClosedLoop(port, 4, 'close')]
    await program.nth('worker.gone', 4)
    const tallies = await Promise.all(loops.map((loop) => loop.stop()))
    for (const { ok, failures } of tallies) assert.deepEqual([failures, ok > 100], [[], true])
    const { reason } = await program.event('worker.retiring')
    assert.match(String(reason), /^it has served \d+ requests$/)
    assert.ok(leastReady(program, 2) >= 2)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('worker.killed', 'request.cut'), [])
  })

  for (const [option, value, path, why] of [
    ['--max-age', '4s', '/', /^it has lived for [4-9] s$/],
    ['--max-rss', '300mb', '/keep', /^it holds [3-9]\d\d MB of memory$/],
  ] as const) {
    it(`V6 is replaced by ${option}`, async () => {
      using program = await Supervised.ready(1, [option, value])
      const pid = await program.pid()
      await program.get(path)
      const retiring = await program.event('worker.retiring')
      assert.equal(retiring['pid'], pid)
      assert.match(String(retiring['reason']), why)
      const end = await program.event('worker.gone')
      assert.deepEqual([end['pid'], end['cause']], [pid, ''])
      assert.deepEqual(program.names('worker.ready', 'worker.stopping').slice(0, 3), [
        'worker.ready',
        'worker.ready',
        'worker.stopping',
      ])
    })
  }

  it('V6 is not replaced for memory that a fresh one holds as well, and that is said', async () => {
    using program = await Supervised.ready(1, ['--max-rss', '10mb', '--hang-timeout', '1s'])
    const { message } = await program.event('warning')
    assert.match(String(message), /as soon as it is ready.*--max-rss/)
    await pause(LONG)
    assert.equal(program.names('worker.starting').length, 1)
  })
})

describe('a worker that is sent a signal', together, () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`V11 ${signal} serves on until its successor is ready, and loses nothing`, async () => {
      using program = await Supervised.ready(1)
      const loop = new ClosedLoop(await program.port(), 4)
      process.kill(await program.pid(), signal)
      const { reason } = await program.event('worker.retiring')
      assert.equal(reason, signal)
      const { code } = await program.event('worker.gone')
      const { failures } = await loop.stop()
      assert.deepEqual([failures, code], [[], 0])
      assert.deepEqual(program.names('worker.ready', 'service.stopping').slice(0, 3), [
        'worker.ready',
        'worker.ready',
        'service.stopping',
      ])
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), clean)
    })
  }

  it('V11 serves on however long its successor takes, beyond its own grace', async () => {
    using program = await Supervised.ready(1, [], { env: { GRACE: '1s' } })
    process.kill(await program.pid(), 'SIGTERM')
    const successor = Number((await program.nth('worker.starting', 2))['pid'])
    process.kill(successor, 'SIGSTOP')
    await pause(LONG)
    assert.equal((await program.get('/')).headers['worker'], String(await program.pid()))
    process.kill(successor, 'SIGCONT')
    assert.equal((await program.event('worker.gone'))['code'], 0)
  })

  it('P1 V11 is forced by a second one, after half a second', async () => {
    using program = await Supervised.ready(1)
    const pid = await program.pid()
    using client = await program.connect()
    client.request('GET /hang')
    await program.event('app.handling')
    // So that nobody takes its place
    process.kill(pid, 'SIGTERM')
    const successor = Number((await program.nth('worker.starting', 2))['pid'])
    process.kill(successor, 'SIGSTOP')
    process.kill(pid, 'SIGTERM')
    await pause(600)
    process.kill(pid, 'SIGTERM')
    assert.equal((await client.response()).status, 503)
    await program.event('worker.dying')
    process.kill(successor, 'SIGCONT')
    assert.equal((await program.event('worker.gone'))['code'], 1)
  })

  it('V11 together with its supervisor stops with it, as everything does, and loses nothing', async () => {
    using program = await Supervised.ready(2)
    const pids = [await program.pid(1), await program.pid(2)]
    using client = await program.connect()
    client.request('GET /slow')
    await program.event('app.handling')
    for (const pid of [...pids, program.child.pid!]) process.kill(pid, 'SIGTERM')
    assert.equal((await client.response()).status, 200)
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('worker.retiring'), [])
  })

  it('V11 stops at once where there is no supervisor any more', async () => {
    using program = await Supervised.ready(1, [], { env: { GRACE: '2s' } })
    const pid = await program.pid()
    program.signal('SIGKILL')
    process.kill(pid, 'SIGTERM')
    await gone(pid)
  })
})

/** Longer than their limits; the first one, the supervisor, wakes up before the others. */
async function suspend(pids: readonly number[]): Promise<void> {
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  await pause(LONG)
  const [supervisor, ...workers] = pids
  process.kill(supervisor!, 'SIGCONT')
  await pause(200)
  for (const pid of workers) process.kill(pid, 'SIGCONT')
}

/** By the program's clock. */
function between(first: Line, second: Line): number {
  return Date.parse(String(second['time'])) - Date.parse(String(first['time']))
}

/** How many were ready at the least, once so many had been. */
function leastReady({ lines }: Supervised, all: number): number {
  const change: Record<string, number> = { 'worker.ready': 1, 'worker.stopping': -1 }
  let ready = 0
  const counts = lines.map(({ event }) => (ready += change[event] ?? 0))
  return Math.min(...counts.slice(counts.indexOf(all)))
}

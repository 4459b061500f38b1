import assert from 'node:assert/strict'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ClosedLoop } from '../helpers/closed-loop.ts'
import type { Line } from '../helpers/program.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { Supervised } from '../helpers/supervised.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const clean = { code: 0, signal: null }
const unclean = { code: 1, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

describe('workers on one socket', together, () => {
  it('V1 queue 2,000 connections while no worker is alive for two seconds, and answer them all', async () => {
    // Four steps of 0.6 s each: none of that worker serves before
    using program = await Supervised.ready(1, [], { env: { STEPS: '4' } })
    const port = await program.port()
    process.kill(await program.pid(), 'SIGKILL')
    const end = await program.event('worker.gone')
    const clients = await Promise.all(Array.from({ length: 2_000 }, () => RawClient.connect(port)))
    assert.equal(program.names('worker.ready').length, 1, 'all have connected before it is there')
    const answers = clients.map((client) => client.request('POST /', 'body').response())
    for (const { status, body } of await Promise.all(answers)) {
      assert.deepEqual([status, body], [200, 'body'])
    }
    const next = await program.nth('worker.ready', 2)
    assert.ok(between(end, next) > 2_000, `${between(end, next)} ms without a worker`)
    for (const client of clients) client.destroy()
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('V1 reset no connection at the whole stop: each is answered or refused', async () => {
    using program = await Supervised.ready(2)
    const port = await program.port()
    const fates = Array.from({ length: 8 }, () => connectOn(port))
    await program.get('/')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual([...new Set(await Promise.all(fates))], ['ECONNREFUSED'])
  })

  for (const workers of [1, 2]) {
    it(`V3 lose no request in 10 rolling restarts: ${workers} of them`, async () => {
      using program = await Supervised.ready(workers)
      const port = await program.port()
      const loops = [new ClosedLoop(port, 6), new ClosedLoop(port, 6, 'close')]
      for (let roll = 1; roll <= 10; roll++) await program.roll(roll)
      const tallies = await Promise.all(loops.map((loop) => loop.stop()))
      for (const { ok, failures } of tallies) {
        assert.deepEqual(failures, [])
        assert.ok(ok > 500, `${ok} requests`)
      }
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), clean)
      const served = new Set(tallies.flatMap(({ lastFrom }) => [...lastFrom.keys()]))
      assert.ok(served.size >= 10, `${served.size} workers have answered`)
      assert.deepEqual(program.names('worker.killed', 'worker.dying', 'request.cut'), [])
    })
  }

  it('V5 are one more with TTIN and one fewer with TTOU', async () => {
    using program = await Supervised.ready(1)
    program.signal('SIGTTIN')
    const second = await program.pid(2)
    program.signal('SIGTTOU')
    const gone = await program.event('worker.gone')
    assert.deepEqual([gone['pid'], gone['code'], gone['cause']], [second, 0, ''])
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('P4 leave in a roll without turning readiness', async () => {
    using program = await Supervised.ready(1)
    using client = await program.connect()
    assert.equal((await client.request('GET /readyz').response()).status, 200)
    program.signal('SIGHUP')
    await program.event('service.draining')
    const { status, headers } = await client.request('GET /readyz').response()
    assert.deepEqual([status, headers['connection']], [200, 'close'])
    await program.event('worker.gone')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })
})

describe('a rolling restart', together, () => {
  it('V2 onto a broken build keeps the old workers, says why, and is tried again', async () => {
    using folder = temporaryFolder()
    const BROKEN = join(folder.path, 'broken')
    using program = await Supervised.ready(2, [], { env: { BROKEN } })
    writeFileSync(BROKEN, '')
    program.signal('SIGHUP')
    await program.event('roll.failed')
    assert.match(program.stderr, /"code":"ERR_OPEN".*this build is broken/)
    assert.equal(program.stderr.trim().split('\n').length, 1, program.stderr)
    const old = [String(await program.pid(1)), String(await program.pid(2))]
    assert.ok(old.includes((await program.get('/')).headers['worker']!))
    rmSync(BROKEN)
    await program.roll(1)
    for (const pid of old) await program.event('worker.gone', (line) => String(line['pid']) === pid)
    assert.ok(!old.includes((await program.get('/')).headers['worker']!))
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('V14 asked for 20 times in a second ends with the newest, and leaves nothing open', async () => {
    using program = await Supervised.ready(2)
    const before = descriptors(program)
    for (let count = 1; count <= 20; count++) {
      program.signal('SIGHUP')
      // The kernel counts a signal that is still pending as one
      await program.nth('roll.started', count)
    }
    const { generation } = await program.event('roll.ended')
    assert.equal(generation, 21)
    const pids = [await lastReady(program, 0), await lastReady(program, 1)]
    await program.event('worker.gone', ({ generation }) => Number(generation) > 1)
    assert.deepEqual(
      pids.map((line) => line['generation']),
      [21, 21],
    )
    assert.ok(leastReady(program) >= 2, `${leastReady(program)} ready`)
    program.signal('SIGHUP')
    await program.nth('roll.ended', 2)
    await program.event('worker.gone', ({ pid }) => pid === pids[1]!['pid'])
    assert.equal(descriptors(program), before)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('H5 with a stop behind it keeps nobody who is idle for longer than the stop does', async () => {
    using program = await Supervised.ready(1)
    using client = await program.connect()
    await client.request('GET /').response()
    await program.roll(1)
    await program.event('service.draining')
    program.signal('SIGTERM')
    const stopping = await program.event('supervisor.stopping')
    await client.fin()
    assert.deepEqual(await program.exit(), clean)
    const took = between(stopping, await program.event('supervisor.closed'))
    assert.ok(took < 8_000, `${took} ms, of a keep-alive of 75 s and a grace of 25 s`)
  })

  it('V14 is ended by a stop in the middle of it', async () => {
    using program = await Supervised.ready(2)
    program.signal('SIGHUP')
    await program.nth('worker.starting', 3)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.equal(program.names('worker.gone').length, 3)
    assert.equal(program.stderr, '')
  })
})

describe('a start', together, () => {
  it('V4 that fails ends the supervisor once, with the error', async () => {
    using folder = temporaryFolder()
    const BROKEN = folder.path
    using program = new Supervised(3, [], { env: { BROKEN } })
    assert.deepEqual(await program.exit(), unclean)
    assert.deepEqual(program.names('worker.starting'), ['worker.starting'])
    assert.match(program.stderr, /^[^\n]*this build is broken[^\n]*\n$/)
    const { cause } = await program.event('worker.gone')
    assert.match(String(cause), /^its start failed: Cannot open "held": this build is broken$/)
  })

  it('V14 that is stopped in the middle of it ends at once, and clean', async () => {
    using program = new Supervised(2, [], { env: { HOLD: 'start' } })
    await program.event('resource.opening')
    program.signal('SIGTERM')
    const stopping = await program.event('supervisor.stopping')
    assert.deepEqual(await program.exit(), clean)
    assert.ok(between(stopping, await program.event('supervisor.closed')) < 8_000)
    assert.deepEqual(program.names('worker.killed'), [])
  })
})

describe('exit codes', together, () => {
  it('P2 are 1 when a worker has cut', async () => {
    using program = await Supervised.ready(2, ['--graceful-timeout', '400ms'])
    using client = await program.connect()
    client.request('GET /hang')
    await program.event('app.handling')
    program.signal('SIGTERM')
    assert.equal((await client.response()).status, 503)
    assert.deepEqual(await program.exit(), unclean)
    assert.equal((await program.event('supervisor.closed'))['clean'], false)
  })

  it('P2 are 143 on request, of the supervisor alone', async () => {
    using program = await Supervised.ready(1, ['--signal-exit-codes'])
    await program.roll(1)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: 143, signal: null })
    const codes = program.lines.filter(({ event }) => event === 'worker.gone').map(({ code }) => code) // oxfmt-ignore
    assert.deepEqual(codes, [0, 0])
  })

  it('P1 a second signal forces all of them', async () => {
    using program = await Supervised.ready(1)
    using client = await program.connect()
    client.request('GET /hang')
    await program.event('app.handling')
    program.signal('SIGTERM')
    await program.event('service.draining')
    program.signal('SIGINT')
    assert.equal((await client.response()).status, 503)
    assert.deepEqual(await program.exit(), unclean)
    assert.deepEqual(program.names('supervisor.forced', 'service.forced'), [
      'supervisor.forced',
      'service.forced',
    ])
  })
})

/** Connects again and again, with a request each, until it does not go on: why. */
async function connectOn(port: number): Promise<string> {
  for (;;) {
    try {
      const client = await RawClient.connect(port)
      const head = 'POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 2\r\n\r\n'
      const { status, body } = await client.send(`${head}hi`).response()
      client.destroy()
      if (status !== 200 || body !== 'hi') return `${status} ${body}`
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error)
    }
  }
}

function descriptors(program: Supervised): number {
  return readdirSync(`/proc/${program.child.pid}/fd`).length
}

/** The last worker that has become ready in a slot. */
async function lastReady(program: Supervised, slot: number): Promise<Line> {
  const isIn = (line: Line): boolean => line.event === 'worker.ready' && line['slot'] === slot
  return program.lines.findLast(isIn)!
}

/** How many were ready at the least, once all of them had been. */
function leastReady({ lines }: Supervised): number {
  const change: Record<string, number> = { 'worker.ready': 1, 'worker.stopping': -1 }
  let ready = 0
  const counts = lines.map(({ event }) => (ready += change[event] ?? 0))
  return Math.min(...counts.slice(counts.indexOf(2)))
}

/** By the program's clock. */
function between(first: Line, second: Line): number {
  return Date.parse(String(second['time'])) - Date.parse(String(first['time']))
}

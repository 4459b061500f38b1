import assert from 'node:assert/strict'
import net from 'node:net'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Program, type Line } from '../helpers/program.ts'
import { gone, isAlive, Supervised } from '../helpers/supervised.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const clean = { code: 0, signal: null }
const unclean = { code: 1, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

describe('a worker that ends', together, () => {
  const ways = [
    ['SIGKILL', '', /^killed: .*memory ran out/],
    ['process.exit()', '/exit', /closed nothing: it called process\.exit\(\)/],
    ['process.abort()', '/abort', /^aborted: .*process\.abort\(\)/],
    [
      'heap exhaustion',
      '/heap',
      /^aborted: its heap was exhausted.*; it held \d+ MB when it was last heard/,
    ],
    ['an error that nobody caught', '/throw', /^stopped, not cleanly: exit code 1$/],
  ] as const
  for (const [name, path, cause] of ways) {
    it(`V16 V4 by ${name} is named and replaced in under a second and its own start`, async () => {
      // A core file of each would fill the disk
      const limit = { through: ['sh', '-c', 'ulimit -c 0; exec "$@"', 'sh'] }
      const env = { NODE_OPTIONS: '--max-old-space-size=64' }
      using program = await Supervised.ready(1, [], { ...limit, env })
      const pid = await program.pid()
      if (path) void program.get(path).catch(() => {})
      else process.kill(pid, name)
      const end = await program.event('worker.gone')
      assert.equal(end['pid'], pid)
      assert.match(String(end['cause']), cause)
      const [first, second] = [await program.event('worker.ready'), await program.nth('worker.ready', 2)] // oxfmt-ignore
      assert.ok(between(end, second) < 1_000 + Number(first['took']), `${between(end, second)} ms`)
      assert.equal((await program.get('/')).status, 200)
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), clean)
    })
  }

  it('P3 by an error that nobody caught is replaced before it has drained', async () => {
    using program = await Supervised.ready(1)
    using client = await program.connect()
    client.request('GET /slow')
    await program.event('app.handling')
    await program.get('/throw')
    await program.event('worker.dying')
    await program.pid(2)
    assert.deepEqual(program.names('worker.gone'), [])
    assert.equal((await client.response()).status, 200)
    await program.event('worker.gone')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  for (const [how, signal] of [
    ['a stop', 'SIGTERM'],
    ['a roll', 'SIGHUP'],
    ['fewer workers', 'SIGTTOU'],
  ] as const) {
    // oxfmt-ignore
    it(`V7 too late is killed and named: ${how}`, async () => {
      using program = await Supervised.ready(2, ['--graceful-timeout', '500ms'])
      // Each blocks one: what has accepted one does not accept the other
      using one = await program.connect()
      one.request('GET /block')
      const { pid } = await program.event('app.blocking')
      using other = await program.connect()
      other.request('GET /block')
      await program.event('app.blocking', (line) => line['pid'] !== pid)
      program.signal(signal)
      const killed = await program.event('worker.killed')
      assert.equal(killed['doing'], 'stopping')
      const end = await program.event('worker.gone', (line) => line['pid'] === killed['pid'])
      assert.match(String(end['cause']), /its stop took too long/)
      if (signal === 'SIGTERM') return assert.deepEqual(await program.exit(), unclean)
      assert.equal(program.child.exitCode, null)
    })
  }

  it('V14 V7 asked to stop in the last moment of its start stops in order', async () => {
    using folder = temporaryFolder()
    const env = { UNTIL: join(folder.path, 'asked') }
    using program = Program.serve('starts-late.ts', ['--graceful-timeout', '2s'], { env })
    await program.event('app.blocking')
    program.signal('SIGTERM')
    await program.event('worker.stopping')
    writeFileSync(env.UNTIL, '')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('worker.killed'), [])
  })

  it('V12 leaves nothing behind that it has spawned', async () => {
    using program = await Supervised.ready(1)
    const first = Number((await program.get('/spawn')).body)
    process.kill(await program.pid(), 'SIGKILL')
    await program.event('worker.gone')
    await gone(first)
    const second = Number((await program.get('/spawn')).body)
    assert.equal(isAlive(second), true)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    await gone(second)
  })
})

describe('the supervisor that ends', together, () => {
  it('V8 by SIGKILL: its workers drain and are gone, what they have spawned is gone, and the port is free', async () => {
    using program = await Supervised.ready(2)
    const port = await program.port()
    const child = Number((await program.get('/spawn')).body)
    using client = await program.connect()
    client.request('GET /slow')
    await program.event('app.handling')
    program.signal('SIGKILL')
    await program.event('service.stopping', ({ reason }) => reason === 'its supervisor is gone')
    assert.equal((await client.response()).status, 200)
    // Their output is the program's: with them it ends
    await program.exit()
    for (const { event, pid } of program.lines) {
      if (event === 'worker.starting') await gone(Number(pid))
    }
    await gone(child)
    assert.equal(program.names('service.closed').length, 2)
    await using server = net.createServer().listen(port, '127.0.0.1')
    await once(server, 'listening')
  })

  it('V8 before a worker has begun: that serves nothing, with nobody to tell', async () => {
    const env = { STEWARD_WORKER: '{}' }
    using program = Program.serve('hello.ts', [], { env })
    assert.deepEqual(await program.exit(), clean)
    assert.equal(program.stdout + program.stderr, '')
  })

  it('V8 by SIGKILL while a worker starts: it is gone, too', async () => {
    using program = new Supervised(1, [], { env: { HOLD: 'start' } })
    const { pid } = await program.event('worker.starting')
    await program.event('resource.opening')
    program.signal('SIGKILL')
    await program.exit()
    await gone(Number(pid))
  })

  it('V12 by Ctrl-C at a terminal reaches its workers once, through it', async () => {
    using program = await onTerminal(2)
    program.child.stdin!.write('\u0003')
    assert.deepEqual(await program.exit(), clean)
    const stops = program.lines.filter(({ event }) => event === 'service.stopping')
    assert.deepEqual(
      stops.map(({ reason }) => reason),
      ['SIGINT', 'SIGINT'],
    )
    assert.deepEqual(program.names('service.forced', 'worker.dying'), [])
  })

  it('V2 stops at a terminal that is closed, and does not restart', async () => {
    using program = await onTerminal(1)
    const { ppid } = await program.event('app.opened')
    process.kill(Number(ppid), 'SIGHUP')
    const { reason } = await program.event('supervisor.stopping')
    assert.equal(reason, 'SIGHUP')
    assert.deepEqual(await program.exit(), clean)
  })
})

/** In a pseudo terminal, which its standard input is written to. */
async function onTerminal(workers: number): Promise<Supervised> {
  return Supervised.ready(workers, ['--log', 'json'], {
    // No shell may stay between: the terminal's signal would end it, and its code be the program's
    through: ['sh', '-c', 'SHELL=/bin/sh exec script -qfec "exec $*" /dev/null', 'sh'],
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

/** By the program's clock. */
function between(first: Line, second: Line): number {
  return Date.parse(String(second['time'])) - Date.parse(String(first['time']))
}

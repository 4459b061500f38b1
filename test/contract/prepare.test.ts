import assert from 'node:assert/strict'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ClosedLoop } from '../helpers/closed-loop.ts'
import { MAIN, Program } from '../helpers/program.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { root } from '../helpers/repository.ts'
import { gone } from '../helpers/supervised.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const clean = { code: 0, signal: null }
const failed = { code: 1, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

interface Prepared extends Disposable {
  readonly program: Program
  readonly folder: string
  /** What happened, without the processes. */
  steps(): string[]
}

function prepared(env: Record<string, string>, args: readonly string[] = []): Prepared {
  const folder = temporaryFolder()
  const path = join(root, 'test/programs/prepared.ts')
  const words = [MAIN, 'serve', path, '--port', '0', ...args]
  const given = args.includes('--workers') ? words : [...words, '--workers', '1']
  const options = { env: { ...env, FOLDER: folder.path, XDG_STATE_HOME: folder.path } }
  const program = new Program(given, options)
  return {
    program,
    folder: folder.path,
    steps() {
      const file = join(folder.path, 'ledger')
      if (!existsSync(file)) return []
      return readFileSync(file, 'utf8')
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/ \d+$/, ''))
    },
    [Symbol.dispose]() {
      // The workers of one that was killed hear of it by themselves
      program[Symbol.dispose]()
      folder[Symbol.dispose]()
    },
  }
}

/** The process that served, ran `prepare`, or did something else, by what the supervisor told. */
const pidOf = async (program: Program, event: string): Promise<number> =>
  Number((await program.event(event))['pid'])

async function order(
  program: Program,
  ...args: string[]
): Promise<{ code: number | null; text: string }> {
  using ordered = new Program([MAIN, ...args, '--pid', String(program.child.pid)])
  const { code } = await ordered.exit()
  return { code, text: ordered.stdout + ordered.stderr }
}

describe('prepare', together, () => {
  it('L14 runs once, in a process of its own, before the first of several workers opens anything', async () => {
    using setup = prepared({ PREPARE: 'yes' }, ['--workers', '3'])
    const { program } = setup
    await program.event('worker.ready', ({ slot }) => slot === 1)
    await program.event('worker.ready', ({ slot }) => slot === 2)
    const own = await pidOf(program, 'prepare.started')
    assert.ok(!program.lines.some(({ event, pid }) => event === 'worker.starting' && pid === own))
    assert.deepEqual(setup.steps(), [
      'pool opens', 'prepares', 'pool closes', 'pool opens', 'pool opens', 'pool opens',
    ]) // oxfmt-ignore
    await gone(own)
    program.signal('SIGHUP')
    await program.event('roll.ended')
    assert.equal(setup.steps().filter((step) => step === 'prepares').length, 1, 'not at a reload')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  for (const [way, says, lines] of [
    ['fails', /Cannot finish prepare: migration 7/, 1],
    ['throws', /nobody caught this/, 1],
    // A process that is gone says nothing any more, and its supervisor does
    ['exits', /Cannot start the service: .*prepare has failed: exit code 1/, 2],
  ] as const) {
    it(`L14 that ${way} ends the start: exit 1, said once, and no worker has opened anything`, async () => {
      using setup = prepared({ PREPARE: way }, ['--graceful-timeout', '2s'])
      assert.deepEqual(await setup.program.exit(), failed)
      assert.match(setup.program.stderr, says)
      assert.equal(setup.program.stderr.trim().split('\n').length, lines, setup.program.stderr)
      assert.equal(setup.program.names('prepare.failed').length, 1)
      assert.equal(setup.program.names('worker.starting').length, 1)
      assert.deepEqual(setup.program.names('service.opening', 'worker.ready'), [])
    })
  }

  it('L14 V13 that takes too long for its start is killed, and ends it', async () => {
    using setup = prepared({ PREPARE: 'hangs' }, ['--boot-timeout', '1s'])
    const { program } = setup
    const { pid } = await program.event('app.preparing')
    assert.deepEqual(await program.exit(), failed)
    await gone(Number(pid))
    const { doing } = await program.event('worker.killed')
    assert.equal(doing, 'starting')
  })

  for (const [way, signal] of [
    ['heeds', 'SIGTERM'],
    ['hangs', 'SIGTERM'],
  ] as const) {
    it(`L14 that ${way} is stopped in order by ${signal}: what it has opened is closed`, async () => {
      using setup = prepared({ PREPARE: way }, ['--graceful-timeout', '2s'])
      const { program } = setup
      await program.event('app.preparing')
      program.signal(signal)
      const { code } = await program.exit()
      // One that does not heed its signal is abandoned
      assert.equal(code, way === 'heeds' ? 0 : 1)
      assert.deepEqual(setup.steps(), ['pool opens', 'prepares', 'pool closes'])
      assert.deepEqual(program.names('worker.killed', 'service.opening'), [])
    })
  }

  it('L14 V14 asked for while it runs is done once more, with the code of then', async () => {
    using setup = prepared({ PREPARE: 'waitsLater' })
    const { program, folder } = setup
    await program.event('worker.ready')
    writeFileSync(join(folder, 'closed'), '')
    const first = order(program, 'reload', '--wait', '--prepare')
    await program.event('app.preparing')
    const second = order(program, 'reload', '--wait', '--prepare')
    await program.event('roll.started', ({ generation }) => generation === 3)
    rmSync(join(folder, 'closed'))
    assert.deepEqual([(await first).code, (await second).code], [0, 0])
    assert.equal(setup.steps().filter((step) => step === 'prepares').length, 3)
  })

  it('L14 V8 ends with its supervisor', async () => {
    using setup = prepared({ PREPARE: 'heeds' })
    const { pid } = await setup.program.event('app.preparing')
    setup.program.signal('SIGKILL')
    await gone(Number(pid))
    assert.deepEqual(setup.steps(), ['pool opens', 'prepares', 'pool closes'])
  })

  it('L14 runs again for steward reload --prepare, and keeps the old worker when it fails', async () => {
    using setup = prepared({ PREPARE: 'failsLater' })
    const { program, folder } = setup
    await program.event('worker.ready')
    const first = await order(program, 'reload', '--wait', '--prepare')
    assert.deepEqual([first.code, first.text.startsWith('reloaded in')], [0, true], first.text)
    assert.equal(setup.steps().filter((step) => step === 'prepares').length, 2)
    writeFileSync(join(folder, 'broken'), '')
    const second = await order(program, 'reload', '--wait', '--prepare')
    assert.equal(second.code, 1)
    assert.match(second.text, /prepare has failed: Cannot finish prepare: migration 8/)
    assert.equal((await order(program, 'reload', '--wait')).code, 1, 'it is still due')
    rmSync(join(folder, 'broken'))
    assert.equal((await order(program, 'reload', '--wait')).code, 0)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })
})

describe('what is exclusive', together, () => {
  it('R21 refuses more than one worker in words, with its name, exit 2', async () => {
    using setup = prepared({ EXCLUSIVE: 'yes' }, ['--workers', '4'])
    assert.deepEqual(await setup.program.exit(), { code: 2, signal: null })
    assert.match(
      setup.program.stderr,
      /^[^\n]*Cannot run 4 workers: \\"lock\\" is exclusive[^\n]*\n$/,
    )
    assert.deepEqual(setup.steps(), [])
  })

  it('R21 refuses to scale, and is replaced stop-first, with requests that wait: none is lost', async () => {
    using setup = prepared({ EXCLUSIVE: 'yes' })
    const { program } = setup
    await program.event('worker.ready')
    const { code, text } = await order(program, 'scale', '2')
    assert.deepEqual([code, /Cannot scale to 2 workers: "lock" is exclusive/.test(text)], [1, true])
    const url = String((await program.event('supervisor.listening'))['url'])
    const port = Number(new URL(url).port)
    const loops = [new ClosedLoop(port, 4), new ClosedLoop(port, 4, 'close')]
    for (let roll = 2; roll <= 4; roll++) {
      // One that keeps a connection and sends nothing more does not hold up those that wait
      using idle = await RawClient.connect(port)
      assert.equal((await idle.request('GET /').response()).status, 200)
      program.signal('SIGHUP')
      const { took } = await program.event('roll.ended', ({ generation }) => generation === roll)
      assert.ok(Number(took) < 10_000, `${String(took)} ms`)
    }
    process.kill(Number(program.lines.findLast(({ event }) => event === 'worker.ready')!['pid']))
    await program.event('worker.ready', ({ generation, pid }) => generation === 4 && pid !== lastPid(program, 4)) // oxfmt-ignore
    for (const loop of loops) {
      const { ok, failures } = await loop.stop()
      assert.deepEqual(failures, [])
      assert.ok(ok > 20, `${ok} requests`)
    }
    const steps = setup.steps().filter((step) => step.startsWith('lock'))
    const pairs = steps.join().match(/^(lock taken,lock released,)*lock taken$/)
    assert.ok(pairs, steps.join())
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('resource.failed', 'roll.failed', 'request.cut'), [])
  })
})

/** The first process of a generation. */
function lastPid(program: Program, generation: number): unknown {
  return program.lines.find((line) => line.event === 'worker.ready' && line['generation'] === generation)?.['pid'] // oxfmt-ignore
}

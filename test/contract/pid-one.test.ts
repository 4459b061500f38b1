import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { Program } from '../helpers/program.ts'

const clean = { code: 0, signal: null }

/** A namespace of processes of its own, as a container has: what it starts is process 1, and gone with it. */
const ALONE = ['unshare', '--map-root-user', '--pid', '--fork', '--mount-proc', '--kill-child']

const { status, stderr } = spawnSync(ALONE[0]!, [...ALONE.slice(1), 'true'], { encoding: 'utf8' })
const skip = status === 0 ? false : `no process namespaces here: ${stderr?.trim() || 'no unshare'}`

function served(program: string, args: readonly string[] = []): Program {
  return Program.alone(program, args, { through: ALONE })
}

/** `unshare` waits for process 1 and ends as it does; the signal is for process 1 itself, as the platform sends it. */
function signal({ child: { pid } }: Program, name: NodeJS.Signals): void {
  const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')
  process.kill(Number(first), name)
}

describe('process 1', { skip, concurrency: 2 }, () => {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`P10 stops in order on ${name}`, async () => {
      using program = served('busy.ts')
      assert.equal((await program.get('/')).body, 'hello')
      const began = performance.now()
      signal(program, name)
      assert.deepEqual(await program.exit(), clean)
      const took = performance.now() - began
      assert.ok(took < 3_000, `${took} ms`)
      assert.deepEqual(program.names('app.closed', 'service.closed', 'app.exit'), [
        'app.closed',
        'app.closed',
        'service.closed',
        'app.exit',
      ])
      assert.deepEqual(program.names('warning'), [])
    })
  }

  it('P10 ends while it is still loading its module', async () => {
    using program = served('loads-slowly.ts')
    await program.event('app.loading')
    signal(program, 'SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('P10 is forced by a second signal, and ended by a third', async () => {
    using program = Program.alone('busy.ts', [], { through: ALONE, env: { CLOSE: 'stuck' } })
    await program.url()
    signal(program, 'SIGTERM')
    await program.event('app.closing')
    signal(program, 'SIGINT')
    await program.event('service.forced')
    signal(program, 'SIGTERM')
    assert.deepEqual(await program.exit(), { code: 1, signal: null })
  })

  it('P10 is ended by its watchdog when its loop is blocked, though the kernel shields it from SIGKILL', async () => {
    using program = served('busy.ts', ['--graceful-timeout', '1s'])
    using client = await program.connect()
    client.request('GET /block')
    await program.event('app.blocking')
    const began = performance.now()
    signal(program, 'SIGTERM')
    assert.deepEqual(await program.exit(), { code: 137, signal: null })
    const took = performance.now() - began
    assert.ok(took > 1_800 && took < 4_000, `${took} ms`)
    assert.match(program.stderr, /^steward: killing the process: the stop had not ended 2000 ms/)
  })

  it('P10 says once, at the stop, that adopted orphans need --init', async () => {
    using program = served('orphans.ts')
    assert.equal((await program.event('app.orphaned'))['pid'], 1)
    await program.event('service.ready')
    signal(program, 'SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    const warnings = program.lines.filter(({ event }) => event === 'warning')
    assert.deepEqual(
      warnings.map(({ message }) => message),
      [
        '2 processes have ended and stayed as zombies (sleep): their parents ended before them, and as process 1 Node collects its own children only; run the container with --init',
      ],
    )
  })
})

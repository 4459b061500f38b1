import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Program } from '../helpers/program.ts'

const clean = { code: 0, signal: null }

describe('the watchdog', { concurrency: 3 }, () => {
  const LINE =
    /^steward: killing the process: the stop had not ended 2000 ms after (SIGTERM|it began); .+\n$/

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
    using program = Program.alone('busy.ts', ['--graceful-timeout', '1s'])
    using client = await program.connect()
    client.request('GET /block')
    await killed(program)
  })

  it('P11 kills a process whose close blocks the loop', async () => {
    using program = Program.alone('busy.ts', ['--graceful-timeout', '1s'], {
      env: { CLOSE: 'block' },
    })
    await program.url()
    program.signal('SIGTERM')
    await killed(program)
  })

  it('P11 kills a process whose start blocks the loop', async () => {
    using program = Program.alone('blocks-start.ts', ['--graceful-timeout', '1s'])
    await killed(program)
  })

  it('P11 kills after the close reserve when it was forced', async () => {
    using program = Program.alone('busy.ts', ['--graceful-timeout', '20s'], {
      env: { CLOSE: 'block' },
    })
    await program.url()
    program.signal('SIGTERM')
    await program.event('app.blocking')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), { code: null, signal: 'SIGKILL' })
    assert.match(program.stderr, /the stop had not ended 5000 ms after a second signal, SIGINT/)
  })

  it('P11 leaves a process alone whose services have closed', async () => {
    using program = Program.run('serve-in-code.ts')
    await program.event('alive')
    program.signal('SIGKILL')
    await program.exit()
    assert.equal(program.stderr, '')
  })

  it('P11 can be turned off', async () => {
    const args = ['--graceful-timeout', '1s', '--no-watchdog']
    using program = Program.alone('busy.ts', args, { env: { BLOCK_FOR: '2500' } })
    using client = await program.connect()
    client.request('GET /block')
    await program.event('app.blocking')
    program.signal('SIGTERM')
    assert.equal((await client.response()).body, 'unblocked')
    assert.deepEqual(await program.exit(), clean)
  })
})

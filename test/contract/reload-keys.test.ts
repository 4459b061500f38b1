import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Developed } from '../helpers/developed.ts'

const clean = { code: 0, signal: null }

const APP = `
export default { fetch: () => new Response(String(process.pid)) }
`

describe('keys on a terminal', { concurrency: 2 }, () => {
  it('D1 r reloads, ? says which there are, q ends it with code 0', async () => {
    using program = await onTerminal()
    const first = await program.text()
    program.child.stdin!.write('r')
    await program.reloaded(1)
    assert.notEqual(await program.text(), first)
    assert.equal(program.all('roll.started')[0]!['reason'], 'reload asked for')
    program.child.stdin!.write('?')
    program.child.stdin!.write('q')
    assert.deepEqual(await program.exit(), clean)
    assert.match(program.stdout, /r +reload now/)
  })

  it('P1 Ctrl-C stops it in order', async () => {
    using program = await onTerminal()
    program.child.stdin!.write('\u0003')
    assert.equal((await program.event('supervisor.stopping'))['reason'], 'SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('P1 Ctrl-Z where no shell would continue it is as if nothing had been pressed', async () => {
    using program = await onTerminal()
    program.child.stdin!.write('\u001A')
    program.child.stdin!.write('r')
    await program.reloaded(1)
    program.child.stdin!.write('q')
    assert.deepEqual(await program.exit(), clean)
  })

  it('D1 are none where no terminal is', async () => {
    using program = await Developed.serving({
      files: { 'app.ts': APP },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    program.child.stdin!.write('q')
    program.write('app.ts', `${APP}\n`)
    await program.reloaded(1)
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })
})

/** In a pseudo terminal, which its standard input is written to. */
function onTerminal(): Promise<Developed> {
  return Developed.serving({
    files: { 'app.ts': APP },
    args: ['--log', 'json'],
    // No shell may stay between: the terminal's signal would end it, and its code be the program's
    through: ['sh', '-c', 'SHELL=/bin/sh exec script -qfec "exec $*" /dev/null', 'sh'],
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

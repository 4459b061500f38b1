import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAIN, modules, Program } from '../helpers/program.ts'

function graph(...args: string[]): Program {
  return new Program([MAIN, 'graph', 'test/programs/graphed.ts', ...args])
}

describe('steward graph', { concurrency: 2 }, () => {
  it('R17 draws what stands on what in Mermaid, scopes as boxes, and opens nothing', async (t) => {
    using program = graph()
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
    assert.equal(program.stderr, '')
    t.assert.snapshot(program.stdout.split('\n'))
  })

  it('R17 draws it for Graphviz', async (t) => {
    using program = graph('--format', 'dot')
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
    t.assert.snapshot(program.stdout.split('\n'))
  })

  it('X1 says what is wrong with a module, and with a format', async () => {
    using folder = modules({ 'app.ts': `setInterval(() => {}, 60_000); export default 1` })
    using wrong = new Program([MAIN, 'graph', 'app.ts'], { cwd: folder.path })
    assert.deepEqual(await wrong.exit(), { code: 2, signal: null })
    assert.match(
      wrong.stderr,
      /^steward: Cannot serve "app\.ts": its default export is 1 \(number\)/,
    )
    using format = graph('--format', 'png')
    assert.deepEqual(await format.exit(), { code: 2, signal: null })
    assert.match(format.stderr, /argument 'png' is invalid\. Allowed choices are mermaid, dot/)
  })

  it('P2 is not disturbed by a reader that has gone', async () => {
    using program = graph()
    program.child.stdout!.destroy()
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
    assert.equal(program.stderr, '')
  })
})

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Developed, wordIs } from '../helpers/developed.ts'
import { MAIN, modules, Program } from '../helpers/program.ts'
import { freePort } from '../helpers/services.ts'

const clean = { code: 0, signal: null }

describe('what is developed', { concurrency: 2 }, () => {
  it('L14 is prepared once, again only after that has failed, and not at each save', async () => {
    const files = {
      'app.ts': `
        import { appendFileSync } from 'node:fs'
        import { service } from 'steward'
        import { word } from './word.ts'
        export default service({
          app: { fetch: () => new Response(word) },
          prepare: () => {
            appendFileSync('prepared', word + ' ')
            if (word === 'bad') throw new Error('no migration')
          },
        })`,
      'word.ts': wordIs('bad'),
    }
    using program = await Developed.start({ files })
    await program.event('stub.ready')
    assert.match(await program.text(), /no migration/)
    for (const [index, word] of ['good', 'better', 'best'].entries()) {
      program.say(word)
      await program.reloaded(index + 1)
    }
    assert.equal(await program.text(), 'best')
    assert.equal(readFileSync(join(program.folder, 'prepared'), 'utf8'), 'bad good ')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('R21 may hold what only one process may hold', async () => {
    const files = {
      'app.ts': `
        import { openSync, rmSync } from 'node:fs'
        import { perApp, service } from 'steward'
        import { word } from './word.ts'
        const lock = perApp(function* () {
          openSync('lock', 'wx')
          yield
          rmSync('lock')
        }, { exclusive: true })
        export default service({ app: { fetch: () => new Response(word) }, resources: { lock } })`,
    }
    using program = await Developed.serving({ files })
    for (const [index, word] of ['two', 'three'].entries()) {
      program.say(word)
      await program.reloaded(index + 1)
      assert.equal(await program.text(), word)
    }
    assert.equal(program.stderr, '')
  })

  it('listens on the port that it names, after each reload', async () => {
    const port = await freePort()
    const app = (word: string): string =>
      `export default { fetch: () => new Response('${word}'), port: ${port} }`
    using folder = modules({ 'app.ts': app('one') })
    const args = [MAIN, 'serve', 'app.ts', '--reload', '--reload-include', '*.html']
    using program = new Program(args, { cwd: folder.path })
    const { url } = await program.event('supervisor.listening')
    assert.equal(url, `http://127.0.0.1:${port}`)
    await program.event('worker.ready')
    program.signal('SIGHUP')
    await program.event('roll.ended')
    assert.equal(await (await fetch(String(url), { headers: { connection: 'close' } })).text(), 'one') // oxfmt-ignore
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })
})

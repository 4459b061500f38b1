import assert from 'node:assert/strict'
import { renameSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ClosedLoop } from '../helpers/closed-loop.ts'
import { Developed, wordIs } from '../helpers/developed.ts'
import { gone } from '../helpers/supervised.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const clean = { code: 0, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

describe('a change', together, () => {
  it('D1 frees what the old process held before the new one opens, and refuses nobody', async () => {
    using program = await Developed.serving()
    // An idle connection is kept for 0.1 s, which a client may miss on a busy machine: browsers ask again then
    const loop = new ClosedLoop(await program.port(), 4, 'close')
    for (let count = 1; count <= 3; count++) {
      program.say(`code ${count}`)
      await program.reloaded(count)
    }
    assert.equal(await program.text(), 'code 3')
    const { ok, failures } = await loop.stop()
    assert.deepEqual(failures, [])
    assert.ok(ok > 10, `${ok} requests`)
    assert.equal(program.connections, 1)
    assert.equal(program.stderr, '')
    assert.deepEqual(program.names('roll.failed', 'worker.killed', 'stub.ready'), [])
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('D1 reaches several workers', async () => {
    using program = await Developed.serving({ workers: 2, files: { 'app.ts': SMALL } })
    program.say('two')
    await program.reloaded(1)
    assert.equal(await program.text(), 'two')
    const ready = program.all('worker.ready').map(({ generation }) => generation)
    assert.deepEqual(ready, [1, 1, 2, 2])
    const firstNew = program.lines.findIndex((line) => line.event === 'worker.starting' && line['generation'] === 2) // oxfmt-ignore
    const before = program.lines.slice(0, firstNew)
    assert.equal(before.filter(({ event }) => event === 'worker.gone').length, 2)
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('D4 during the stop cuts no closing short, and is not lost', async () => {
    using program = await Developed.serving({ env: { CLOSES: '900' } })
    program.say('two')
    await program.event('service.closing')
    program.say('three')
    await program.event('roll.ended')
    assert.equal(await program.text(), 'three')
    assert.equal(program.names('resource.closed').length, 2)
    assert.equal(program.connections, 1)
    assert.equal(program.stderr, '')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('D4 during the start stops that in order, and begins anew', async () => {
    const files = { 'app.ts': SLOW_START, 'word.ts': wordIs('slow') }
    using program = await Developed.start({ files })
    await program.event('resource.opening')
    program.say('fast')
    await program.event('worker.ready')
    assert.equal(await program.text(), 'fast')
    assert.deepEqual(program.names('worker.killed', 'stub.ready', 'roll.failed'), [])
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('D4 that comes in a burst is one reload', async () => {
    using program = await Developed.serving({ files: { 'app.ts': SMALL } })
    for (let count = 0; count < 20; count++) program.say(`word ${count}`)
    program.say('last')
    await program.reloaded(1)
    assert.equal(await program.text(), 'last')
    program.say('end')
    await program.reloaded(2)
    assert.equal(program.all('roll.started').length, 2)
  })

  it('D4 that is none reloads nothing: touched, and saved as it was', async () => {
    using program = await Developed.serving({ files: { 'app.ts': SMALL } })
    utimesSync(join(program.folder, 'word.ts'), new Date(), new Date())
    program.say('one')
    program.write('app.ts', `${SMALL}\n`)
    const { reason } = await program.event('roll.started')
    assert.equal(reason, 'app.ts changed')
    await program.reloaded(1)
    assert.equal(program.all('roll.started').length, 1)
  })

  it('D4 is noticed of editors that put another file in the place', async () => {
    using program = await Developed.serving({ files: { 'app.ts': SMALL } })
    const [file, other] = ['word.ts', '.word.ts.new'].map((name) => join(program.folder, name))
    for (const [index, word] of ['two', 'three'].entries()) {
      program.write('.word.ts.new', wordIs(word))
      renameSync(other!, file!)
      await program.reloaded(index + 1)
      assert.equal(await program.text(), word)
    }
    program.remove('word.ts')
    program.say('four')
    await program.reloaded(3)
    assert.equal(await program.text(), 'four')
  })
})

describe('what is watched', together, () => {
  it('D6 is what was loaded, by import and by require, wherever it is', async () => {
    using elsewhere = temporaryFolder()
    const far = join(elsewhere.path, 'far.mjs')
    const files = {
      'app.ts': `
        import { createRequire } from 'node:module'
        import { far } from '${far}'
        import data from './data.json' with { type: 'json' }
        const near = createRequire(import.meta.url)('./near.cjs')
        const late = () => import('./late.ts')
        export default { fetch: async () => new Response([far, data.word, near, (await late()).word].join(' ')) }`,
      'data.json': '{ "word": "json" }',
      'near.cjs': 'module.exports = "near"',
      'late.ts': wordIs('late'),
      'unused.ts': '',
    }
    await writeFar(far, 'far')
    using program = await Developed.serving({ files })
    assert.equal(await program.text(), 'far json near late')
    let count = 0
    const reload = async (expected: string): Promise<void> => {
      await program.reloaded(++count)
      assert.equal(await program.text(), expected)
    }
    await writeFar(far, 'FAR')
    await reload('FAR json near late')
    program.write('data.json', '{ "word": "JSON" }')
    await reload('FAR JSON near late')
    program.write('near.cjs', 'module.exports = "NEAR"')
    await reload('FAR JSON NEAR late')
    program.write('late.ts', wordIs('LATE'))
    await reload('FAR JSON NEAR LATE')
    program.write('unused.ts', '// changed')
    program.write('data.json', '{ "word": "end" }')
    await reload('FAR end NEAR LATE')
    assert.equal(program.all('roll.started').at(-1)?.['reason'], 'data.json changed')
  })

  it('D6 is not what only the old code has loaded, until it is loaded again', async () => {
    using program = await Developed.serving({ files: { 'app.ts': SMALL } })
    const alone = 'export default { fetch: () => new Response("alone") }\n'
    program.write('app.ts', alone)
    await program.reloaded(1)
    program.say('nobody reads it')
    program.write('app.ts', `${alone}\n`)
    await program.reloaded(2)
    program.write('app.ts', SMALL)
    await program.reloaded(3)
    program.say('two')
    await program.reloaded(4)
    assert.equal(await program.text(), 'two')
    const reasons = program.all('roll.started').map(({ reason }) => reason)
    assert.deepEqual(reasons, [...Array(3).fill('app.ts changed'), 'word.ts changed'])
    assert.deepEqual(program.names('process.held', 'warning', 'error'), [])
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('process.held', 'warning', 'error'), [])
  })

  it('D6 is --reload-include besides, and not --reload-exclude', async () => {
    const files = { 'app.ts': SMALL, 'views/page.html': 'one', 'views/cache/page.html': 'one' }
    const args = ['--reload-include', '*.html', '--reload-exclude', 'cache', '--reload-exclude', 'word.ts'] // oxfmt-ignore
    using program = await Developed.serving({ files, args })
    program.say('ignored')
    program.write('views/cache/page.html', 'two')
    program.write('views/page.html', 'two')
    await program.reloaded(1)
    program.write('views/new.html', 'new')
    await program.reloaded(2)
    program.remove('views/new.html')
    await program.reloaded(3)
    const reasons = program.all('roll.started').map(({ reason }) => reason)
    assert.deepEqual(reasons, ['views/page.html changed', 'views/new.html changed', 'views/new.html changed']) // oxfmt-ignore
  })

  it('D6 is looked at again and again where the file system tells nothing', async () => {
    const env = { CHOKIDAR_USEPOLLING: '1' }
    using program = await Developed.serving({ files: { 'app.ts': SMALL }, env })
    program.say('two')
    await program.reloaded(1)
    assert.equal(await program.text(), 'two')
  })

  it('D6 is a whole --reload-dir', async () => {
    const files = { 'app.ts': SMALL, 'locales/en.txt': 'hello' }
    using program = await Developed.serving({ files, args: ['--reload-dir', 'locales'] })
    program.write('locales/en.txt', 'good day')
    assert.equal((await program.event('roll.started'))['reason'], 'locales/en.txt changed')
    await program.reloaded(1)
  })

  it('D6 is the file of --env-file, whose variables are read anew', async () => {
    const files = {
      'app.ts': `export default { fetch: () => new Response(process.env['WORD']) }`,
      '.env': 'WORD=one\n',
    }
    using program = await Developed.serving({ files, args: ['--env-file', '.env'] })
    assert.equal(await program.text(), 'one')
    program.write('.env', 'WORD=two\n')
    await program.reloaded(1)
    assert.equal(await program.text(), 'two')
  })
})

describe('a reload', together, () => {
  it('D2 is not held up by an open stream and an upgraded connection: both are ended', async () => {
    using program = await Developed.serving()
    using stream = (await program.connect()).request('GET /events')
    await stream.sees('hello')
    using socket = await program.connect()
    socket.send('GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n')
    await socket.sees('101 Switching Protocols')
    program.say('two')
    const { took } = await program.reloaded(1)
    await Promise.all([stream.closed, socket.closed])
    assert.ok(Number(took) < 5_000, `${Number(took)} ms`)
    const { took: stages } = await program.event('service.closed')
    const { draining } = stages as { draining: number }
    assert.ok(draining < 1_000, `the drain took ${draining} ms`)
    assert.equal(await program.text(), 'two')
  })

  it('D2 kills an app that does not stop, with what it has spawned', async () => {
    const files = {
      'app.ts': `
        import { spawn } from 'node:child_process'
        import { word } from './word.ts'
        const child = spawn('sleep', ['300'], { stdio: 'ignore' })
        export default { fetch: (request) => {
          if (request.url.endsWith('/child')) return new Response(String(child.pid))
          if (request.url.endsWith('/block')) for (;;);
          return new Response(word)
        } }`,
    }
    using program = await Developed.serving({ files })
    const child = Number(await program.text('/child'))
    const first = await program.pid()
    using client = await program.connect()
    client.request('GET /block')
    program.say('two')
    await program.event('worker.gone', ({ pid }) => pid === first)
    await program.reloaded(1)
    assert.equal(await program.text(), 'two')
    await gone(child)
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })
})

const SMALL = `
import { word } from './word.ts'
export default { fetch: () => new Response(word) }
`

const SLOW_START = `
import { perApp, service } from 'steward'
import { word } from './word.ts'
const slow = perApp(async ({ opening }) => {
  if (word === 'slow') await new Promise((resolve) => opening.addEventListener('abort', resolve))
  opening.throwIfAborted()
})
export default service({ app: { fetch: () => new Response(word) }, resources: { slow } })
`

async function writeFar(file: string, word: string): Promise<void> {
  const { writeFile } = await import('node:fs/promises')
  await writeFile(file, `export const far = '${word}'\n`)
}

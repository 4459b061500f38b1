import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { stripVTControlCharacters } from 'node:util'
import { MAIN, modules, Program } from '../helpers/program.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { root } from '../helpers/repository.ts'
import { freePort } from '../helpers/services.ts'
import { within } from '../helpers/within.ts'

const clean = { code: 0, signal: null }
const OK = `export default { fetch: () => new Response('ok') }`

describe('steward serve', { concurrency: 2 }, () => {
  for (const [name, text] of [
    [
      'a service',
      `import { service } from 'steward'; export default service({ app: { fetch: () => new Response('ok') } })`,
    ],
    ['an object with fetch', OK],
    [
      'a (req, res) listener',
      `export default (_: unknown, res: { end(text: string): void }) => res.end('ok')`,
    ],
    [
      'a service around a resource',
      `import { perApp, service } from 'steward'; export default service({ app: perApp(() => ({ fetch: () => new Response('ok') })) })`,
    ],
  ] as const) {
    it(`takes ${name}`, async () => {
      using folder = modules({ 'app.ts': text })
      using program = Program.serve(join(folder.path, 'app.ts'))
      assert.equal(
        await (await fetch(await program.url(), { headers: { connection: 'close' } })).text(),
        'ok',
      )
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), clean)
      assert.equal(program.stderr, '')
    })
  }

  it('takes the port of { fetch, port }, unless another is given', async () => {
    const port = await freePort()
    using folder = modules({
      'app.ts': `export default { fetch: () => new Response('ok'), port: ${port} }`,
    })
    using own = new Program([MAIN, 'serve', 'app.ts'], { cwd: folder.path })
    assert.equal(await own.url(), `http://127.0.0.1:${port}`)
    using other = new Program([MAIN, 'serve', 'app.ts', '--port', '0'], { cwd: folder.path })
    assert.notEqual(await other.url(), `http://127.0.0.1:${port}`)
  })

  it('listens where --bind says', async () => {
    const port = await freePort()
    using folder = modules({ 'app.ts': OK })
    for (const [bind, url] of [
      [`127.0.0.1:${port}`, `http://127.0.0.1:${port}`],
      [`${port}`, `http://127.0.0.1:${port}`],
      [`[::1]:${port}`, `http://[::1]:${port}`],
      ['unix:app.sock', 'unix:app.sock'],
      ['unix:///tmp/steward-test.sock', 'unix:/tmp/steward-test.sock'],
    ] as const) {
      using program = new Program([MAIN, 'serve', 'app.ts', '--bind', bind], { cwd: folder.path })
      assert.equal(await program.url(), url)
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), clean)
    }
    assert.equal(existsSync('/tmp/steward-test.sock'), false)
  })

  it('serves on a Unix socket, and on an inherited one', async () => {
    using folder = modules({ 'app.ts': OK })
    const path = join(folder.path, 'app.sock')
    using program = new Program([MAIN, 'serve', 'app.ts', '--unix', 'app.sock'], {
      cwd: folder.path,
    })
    await program.event('worker.ready')
    using client = await RawClient.connect(path)
    assert.equal((await client.request('GET /').response()).body, 'ok')

    const server = net.createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as net.AddressInfo
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle
    using inheriting = new Program([MAIN, 'serve', 'app.ts', '--fd', '3'], {
      cwd: folder.path,
      stdio: ['ignore', 'pipe', 'pipe', fd],
    })
    await inheriting.event('service.ready')
    server.close()
    using other = await RawClient.connect(port)
    assert.equal((await other.request('GET /').response()).body, 'ok')
  })

  it('loads what --env-file and --import name first', async () => {
    using folder = modules({
      'app.ts': `if (process.env.SHOP !== 'one' || globalThis.first !== 2) throw new Error('too early')\n${OK}`,
      'first.ts': `globalThis.first = 1`,
      'second.ts': `globalThis.first += 1`,
      '.env': 'SHOP=one',
    })
    const args = [
      '--env-file',
      '.env',
      '--import',
      './first.ts',
      '--import',
      './second.ts',
      '--port',
      '0',
    ]
    using program = new Program([MAIN, 'serve', ...args, 'app.ts'], { cwd: folder.path })
    await program.event('service.ready')
  })

  it('writes one JSON object a line in a pipe', async () => {
    using program = Program.serve('busy.ts', ['--graceful-timeout', '300ms'])
    using client = await RawClient.connect(Number(new URL(await program.url()).port))
    client.request('GET /hang')
    await program.event('app.handling')
    program.signal('SIGTERM')
    assert.equal((await program.exit()).code, 1)
    const lines = program.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const ours = lines.filter((line) => !String(line['event']).startsWith('app.'))
    for (const line of ours) {
      assert.match(String(line['time']), /^\d{4}-\d\d-\d\dT/)
      assert.match(String(line['level']), /^(debug|info|warn|error)$/)
    }
    const levels = new Map(ours.map((line) => [line['event'], line['level']]))
    assert.equal(levels.get('request.cut'), 'error')
    assert.equal(levels.get('service.closed'), 'error')
    assert.equal(levels.get('service.ready'), 'info')
  })

  it('X3 shows no password of a URL, in a log or an error', async () => {
    const text = `import { perApp, service } from 'steward'
      const url = 'postgres://shop:hunter2@db/shop'
      const db = perApp(function* () { yield 1; throw new Error('lost ' + url, { cause: { url } }) })
      export default service({ resources: { db }, onShutdown() { throw url } })`
    using folder = modules({ 'app.ts': text })
    for (const log of ['json', 'pretty']) {
      using program = new Program([MAIN, 'serve', 'app.ts', '--port', '0', '--log', log], {
        cwd: folder.path,
      })
      await (log === 'json' ? program.event('service.ready') : printed(program, 'Ctrl-C'))
      program.signal('SIGTERM')
      assert.equal((await program.exit()).code, 1)
      assert.doesNotMatch(program.stdout + program.stderr, /hunter2/)
      assert.match(program.stdout, /postgres:\/\/shop:\*\*\*@db\/shop/)
    }
  })

  it('is a pleasure to watch on a terminal', async () => {
    // `exec`: the terminal’s signal goes to every process on it, and a shell between would end by it
    const command = `exec ${process.execPath} ${MAIN} serve test/programs/busy.ts --port 0 --graceful-timeout 3s`
    const terminal = spawn('script', ['-qec', command, '/dev/null'], {
      cwd: root,
      env: { ...process.env, SHELL: '/bin/sh' },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    let screen = ''
    const { promise, resolve } = Promise.withResolvers<string>()
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => {
      screen += text
      const url = /http:\/\/127\.0\.0\.1:(\d+)/.exec(screen)?.[1]
      if (url && screen.includes('Ctrl-C stops it')) resolve(url)
    })
    const ended = new Promise<number | null>((done) => terminal.on('close', done))
    using client = await RawClient.connect(Number(await within(10_000, promise, 'the address')))
    client.request('GET /hang')
    // Ctrl-C, as a terminal sends it
    while (!screen.includes('app.handling')) {
      await new Promise((next) => terminal.stdout.once('data', next))
    }
    terminal.stdin.write('\x03')
    assert.equal(await within(10_000, ended, 'the end'), 1)
    const lines = plain(screen).filter((line) => !line.startsWith('{'))
    const expected = [
      /^steward test\/programs\/busy\.ts$/,
      /^$/,
      /^ {2}✓ db +[\d.]+ ms$/,
      /^ {2}✓ pool +[\d.]+ ms$/,
      /^ {2}http:\/\/127\.0\.0\.1:\d+ {3}ready in \d+(\.\d)? ms, Ctrl-C stops it$/,
      /^stopping \(SIGINT\), 3\.0 s at most; a second signal forces it$/,
      /^ {2}… waiting for request GET \/hang \(1\.\d s\)/,
      /^ {2}✗ GET \/hang +[\d.]+ s {2}answered 503 in its place$/,
      /^ {2}✗ GET \/hang +[\d.]+ s {2}its handler was abandoned$/,
      /^ {2}✓ pool closed +[\d.]+ ms$/,
      /^ {2}✓ db closed +[\d.]+ ms$/,
      /^stopped, not cleanly: 1 served, 1 cut; told in .+, drained in .+, closed in .+$/,
    ]
    let from = 0
    for (const pattern of expected) {
      const at = lines.findIndex((line, index) => index >= from && pattern.test(line))
      assert.ok(at >= 0, `${pattern} is not in\n${lines.join('\n')}`)
      from = at + 1
    }
  })

  it('has help and a version, and refuses what it does not know', async () => {
    using help = new Program([MAIN, 'serve', '--help'])
    assert.deepEqual(await help.exit(), clean)
    for (const option of [
      '--host',
      '--port',
      '--bind',
      '--unix',
      '--fd',
      '--graceful-timeout',
      '--drain-delay',
      '--log',
      '--pid',
      '--env-file',
    ]) {
      assert.match(help.stdout, new RegExp(` ${option} `))
    }
    using version = new Program([MAIN, '--version'])
    assert.deepEqual(await version.exit(), clean)
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
    using unknown = new Program([MAIN, 'sevre', 'app.ts'])
    assert.deepEqual(await unknown.exit(), { code: 2, signal: null })
    assert.match(unknown.stderr, /unknown command 'sevre'\n\(Did you mean serve\?\)/)
  })
})

/** Waits until it has printed that. */
async function printed(program: Program, text: string): Promise<void> {
  while (!program.stdout.includes(text)) {
    const next = new Promise((resolve) => program.child.stdout!.once('data', resolve))
    await within(10_000, next, text)
  }
}

/** Without colours, one string a line. */
function plain(screen: string): string[] {
  return stripVTControlCharacters(screen).split(/\r?\n/)
}

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import net from 'node:net'
import { describe, it } from 'node:test'
import { MAIN, modules, Program } from '../helpers/program.ts'
import { gone } from '../helpers/supervised.ts'

const OK = `export default { fetch: () => new Response('ok') }`
const port = ['--port', '0']

const CASES = [
  { name: 'no workers', text: OK, args: [...port, '--workers', '0'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
  { name: 'workers that are no number', text: OK, args: [...port, '--workers', 'x'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
  { name: 'too many workers', text: OK, args: [...port, '--workers', '10000'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
  { name: 'a limit for hangs that every busy worker would reach', text: OK, args: [...port, '--workers', '2', '--hang-timeout', '10ms'], code: 2, says: /Cannot take a worker for hung after 10ms \(--hang-timeout\): .*give at least 1s, or off/ },
  { name: 'a limit for hangs that is no time', text: OK, args: [...port, '--workers', '2', '--hang-timeout', 'never'], code: 2, says: /It is no time: give seconds, or 250ms, 5s, 2m, 1h; or off/ },
  { name: 'a limit that no start meets', text: OK, args: [...port, '--workers', '2', '--boot-timeout', '0'], code: 2, says: /Cannot start a worker within 0s \(--boot-timeout\): give at least 1s/ },
  { name: 'chance without a number of requests', text: OK, args: [...port, '--workers', '2', '--max-requests-jitter', '5'], code: 2, says: /Cannot use --max-requests-jitter alone: give --max-requests as well/ },
  { name: 'a number of requests that is none', text: OK, args: [...port, '--workers', '2', '--max-requests', '-1'], code: 2, says: /no such number: give a whole one, or 0 for no limit/ },
  { name: 'retirement with nobody to replace it', text: OK, args: [...port, '--no-supervisor', '--max-requests', '5'], code: 2, says: /Cannot use --max-requests with --no-supervisor: nobody is there who would replace the only process; leave it out/ },
  { name: 'memory that is no size', text: OK, args: [...port, '--workers', '2', '--max-rss', '512 elephants'], code: 2, says: /It is no size: give bytes, or 64kb, 512mb, 2gb/ },
  { name: 'no memory at all', text: OK, args: [...port, '--workers', '2', '--max-rss', '0'], code: 2, says: /It is no size: give bytes, or 64kb, 512mb, 2gb/ },
  { name: 'an age that is no time', text: OK, args: [...port, '--workers', '2', '--max-age', 'old'], code: 2, says: /It is no time: give seconds/ },
  { name: 'an address that is not there', text: OK, args: [...port, '--host', '192.0.2.1', '--workers', '2'], code: 1, says: /^[^\n]*this machine has no such address[^\n]*\n$/ },
  { name: 'a module without an app', text: 'export default 42', args: [...port, '--workers', '3'], code: 2, says: /^[^\n]*its default export is 42 \(number\)[^\n]*\n$/ },
  { name: 'a module that throws', text: `throw new Error('no configuration')`, args: [...port, '--workers', '3'], code: 1, says: /^[^\n]*Cannot load[^\n]*no configuration[^\n]*\n$/ },
  { name: 'a module that awaits for ever', text: 'await new Promise(() => {})', args: [...port, '--workers', '3'], code: 1, says: /^[^\n]*it awaits something that never comes[^\n]*\n$/ },
  { name: 'a module that ends its process', text: 'process.exit(0)', args: [...port, '--workers', '2'], code: 1, says: /^[^\n]*Cannot start the service: its first worker did not become ready \(it has ended before it was ready\)[^\n]*\n$/ },
  { name: 'a service that never becomes ready', text: `import { service } from 'steward'\nexport default service({ app: { fetch: () => new Response('') }, onStartup: () => new Promise(() => {}) })`, args: [...port, '--workers', '2', '--boot-timeout', '1s'], code: 1, says: /^[^\n]*did not become ready \(killed: its start took too long\)[^\n]*--boot-timeout[^\n]*\n$/ },
  { name: 'a boot timeout that is none', text: OK, args: [...port, '--workers', '2', '--boot-timeout', 'soon'], code: 2, says: /It is no time/ },
  { name: 'a descriptor that nobody has passed on', text: OK, args: ['--fd', '77', '--workers', '2'], code: 1, says: /^[^\n]*file descriptor 77: it is not open \(EBADF\)[^\n]*npm, npx and tsx do not: start node itself[^\n]*\n$/ },
  { name: 'a control socket over a file', text: OK, args: [...port, '--workers', '2', '--control', 'app.ts'], code: 2, says: /^[^\n]*Cannot open the control socket[^\n]*something else than a socket is there[^\n]*\n$/ },
  { name: 'the same place twice', text: OK, args: ['-b', '0.0.0.0:48123', '-b', '127.0.0.1:48123', '--workers', '2'], code: 1, says: /^[^\n]*http:\/\/0\.0\.0\.0:48123 is given as well[^\n]*\n$/ },
  { name: 'TLS without its key', text: OK, args: [...port, '--tls-cert', 'cert.pem', '--workers', '2'], code: 2, says: /^[^\n]*Cannot serve TLS[^\n]*\n$/ },
] // oxfmt-ignore

describe('steward serve --workers', { concurrency: 2 }, () => {
  for (const { name, text, args, code, says } of CASES) {
    it(`X1 refuses ${name}, once, with exit code ${code}`, async () => {
      using folder = modules({ 'app.ts': text })
      using program = new Program([MAIN, 'serve', 'app.ts', ...args], { cwd: folder.path })
      assert.deepEqual(await program.exit(), { code, signal: null })
      assert.match(program.stderr, says)
      assert.ok(program.names('worker.starting').length <= 1)
    })
  }

  it('X1 leaves a socket of a living service alone, and replaces one of a dead one', async () => {
    using folder = modules({ 'app.ts': OK })
    const serve = (): Program =>
      new Program([MAIN, 'serve', 'app.ts', ...port, '--workers', '1', '--control', 'c.sock', '--pid', 'app.pid'], { cwd: folder.path }) // oxfmt-ignore
    using first = serve()
    const { pid } = await first.event('worker.ready')
    using second = serve()
    assert.equal((await second.exit()).code, 2)
    assert.match(second.stderr, /^[^\n]*process \d+ runs and has it[^\n]*\n$/)
    first.signal('SIGKILL')
    await first.exit()
    await gone(Number(pid))
    using third = serve()
    await third.event('worker.ready')
    third.signal('SIGTERM')
    assert.deepEqual(await third.exit(), { code: 0, signal: null })
    assert.deepEqual(readdirSync(folder.path).sort(), ['app.ts', 'package.json'])
  })

  it('loses nothing of the megabytes that a worker prints', async () => {
    const loud = `for (let n = 0; n < 8; n++) process.stderr.write('x'.repeat(1 << 20) + '\\n')\n${OK}`
    using folder = modules({ 'app.ts': loud })
    using program = new Program([MAIN, 'serve', 'app.ts', ...port, '--workers', '1'], { cwd: folder.path }) // oxfmt-ignore
    await program.event('worker.ready')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
    assert.equal(program.stderr.length, 8 * ((1 << 20) + 1))
  })
})

describe('a wrapper that does not hand on descriptors', () => {
  it('X1 is named in one sentence, exit 1, and nothing is started', async () => {
    using folder = modules({
      'app.ts': OK,
      // What npm, npx and tsx do: a child with the three usual ones
      'wrapper.js': `import { spawnSync } from 'node:child_process'
        process.exit(spawnSync(process.execPath, process.argv.slice(2), { stdio: 'inherit' }).status)`,
    })
    using socket = new net.BoundSocket({ host: '127.0.0.1' })
    const args = ['wrapper.js', MAIN, 'serve', 'app.ts', '--fd', '9', '--workers', '2']
    const others = Array.from({ length: 6 }, () => 'ignore' as const)
    const stdio = ['ignore', 'pipe', 'pipe', ...others, socket.fd()] as const
    using program = new Program(args, { cwd: folder.path, stdio: [...stdio] })
    assert.deepEqual(await program.exit(), { code: 1, signal: null })
    assert.match(
      program.stderr,
      /^[^\n]*file descriptor 9: it is not[^\n]*npm, npx and tsx[^\n]*\n$/,
    )
    assert.deepEqual(program.names('worker.starting'), [])
  })
})

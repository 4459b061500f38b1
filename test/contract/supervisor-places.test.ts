import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, lstatSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { ClosedLoop } from '../helpers/closed-loop.ts'
import { MAIN, modules, Program } from '../helpers/program.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { root } from '../helpers/repository.ts'
import { gone, Supervised } from '../helpers/supervised.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const clean = { code: 0, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

const listeningOn = (program: Program): string[] =>
  program.lines.flatMap((line) => (line.event === 'supervisor.listening' ? [String(line['url'])] : [])) // oxfmt-ignore

async function statusOf(place: number | string): Promise<number> {
  using client = await RawClient.connect(place)
  return (await client.request('GET /').response()).status
}

/** The worker that answers at a place. */
async function workerAt(place: number | string): Promise<string> {
  using client = await RawClient.connect(place)
  return (await client.request('GET /').response()).headers['worker']!
}

/** Loaded before a program: SIGTERM comes as soon as it has written its pid file. */
const SIGNALS_ITSELF = `
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
const { writeFileSync } = fs
fs.writeFileSync = (path, ...rest) => {
  writeFileSync(path, ...rest)
  if (String(path).endsWith('/pid')) process.kill(process.pid, 'SIGTERM')
}
syncBuiltinESMExports()
`

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

describe('workers in several places', together, () => {
  it('H3 V3 lose nothing in any of them through rolls and a stop, over TCP and a Unix socket', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'app.sock')
    const args = ['--bind', '127.0.0.1:0', '--unix', path]
    using program = await Supervised.ready(2, args)
    const urls = listeningOn(program)
    assert.equal(urls.length, 3)
    assert.equal(urls[2], `unix:${path}`)
    const [first, second] = urls.slice(0, 2).map((url) => Number(new URL(url).port))
    const loops = [new ClosedLoop(first!, 3), new ClosedLoop(second!, 3, 'close')]
    for (let roll = 1; roll <= 3; roll++) {
      await program.roll(roll)
      assert.equal(await statusOf(path), 200)
    }
    for (const loop of loops) {
      const { ok, failures } = await loop.stop()
      assert.deepEqual(failures, [])
      assert.ok(ok > 50, `${ok} requests`)
    }
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    for (const port of [first!, second!]) await assert.rejects(RawClient.connect(port))
    assert.deepEqual(readdirSync(folder.path), [])
    assert.deepEqual(program.names('worker.killed', 'request.cut', 'warning', 'error'), [])
  })

  it('V1 queue connections to a Unix socket while no worker is alive', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'app.sock')
    using program = await Supervised.ready(1, ['--unix', path])
    const { ino } = lstatSync(path)
    process.kill(await program.pid(), 'SIGKILL')
    await program.event('worker.gone')
    const clients = await Promise.all(Array.from({ length: 100 }, () => RawClient.connect(path)))
    assert.equal(program.names('worker.ready').length, 1, 'all have connected before it is there')
    const answers = clients.map((client) => client.request('GET /').response())
    for (const { status } of await Promise.all(answers)) assert.equal(status, 200)
    for (const client of clients) client.destroy()
    assert.equal(lstatSync(path).ino, ino, 'no worker has touched it')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.equal(existsSync(path), false)
  })

  it('H16 replace a stale Unix socket, and its address is there only when a worker listens', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'app.sock')
    using killed = await Supervised.ready(1, ['--unix', path])
    const pid = await killed.pid()
    killed.signal('SIGKILL')
    await killed.exit()
    await gone(pid)
    const { ino } = lstatSync(path)
    using held = new Supervised(1, ['--unix', path], { env: { HOLD: 'start' } })
    await held.event('resource.opening')
    assert.equal(lstatSync(path).ino, ino, 'nobody listens yet')
    held.signal('SIGTERM')
    assert.deepEqual(await held.exit(), clean)
    assert.deepEqual(readdirSync(folder.path), ['app.sock'])
    using program = await Supervised.ready(2, ['--unix', path])
    assert.notEqual(lstatSync(path).ino, ino)
    assert.equal(await statusOf(path), 200)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('H16 leave a Unix socket to whoever has put its own there meanwhile', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'app.sock')
    using first = await Supervised.ready(1, ['--unix', path])
    const other = net.createServer().listen(`${path}.new`)
    await once(other, 'listening')
    renameSync(`${path}.new`, path)
    first.signal('SIGTERM')
    assert.deepEqual(await first.exit(), clean)
    assert.equal(existsSync(path), true)
    other.close()
  })

  it('L3 X1 refuse a live Unix socket and a port in use: one sentence, no worker, nothing left behind', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'app.sock')
    using living = await Supervised.ready(1, ['--unix', path])
    using second = new Supervised(2, ['--unix', path])
    assert.deepEqual(await second.exit(), { code: 1, signal: null })
    assert.match(
      second.stderr,
      /^[^\n]*Cannot listen on unix:.*another process listens on it[^\n]*\n$/,
    )
    assert.deepEqual(second.names('worker.starting'), [])

    const port = await living.port()
    const other = join(folder.path, 'other.sock')
    using third = new Supervised(2, ['--unix', other, '--bind', `127.0.0.1:${port}`])
    assert.deepEqual(await third.exit(), { code: 1, signal: null })
    assert.match(third.stderr, /^[^\n]*the port is in use \(EADDRINUSE\)[^\n]*\n$/)
    assert.deepEqual(third.names('worker.starting'), [])
    assert.deepEqual(readdirSync(folder.path), ['app.sock'])
    assert.equal(await statusOf(path), 200)
  })

  it('P1 X1 leave nothing behind when a signal comes while they are being taken', async () => {
    using folder = temporaryFolder()
    const path = (name: string): string => join(folder.path, name)
    // At a place where somebody has to be asked for, taking it is not done at once
    const dies = `.listen(${JSON.stringify(path('app.sock'))}, () => process.kill(process.pid, 'SIGKILL'))`
    using stale = new Program(['-e', `require('net').createServer()${dies}`])
    await stale.exit()
    writeFileSync(path('signals.mjs'), SIGNALS_ITSELF)
    const env = { NODE_OPTIONS: `--import ${pathToFileURL(path('signals.mjs')).href}` }
    const places = ['--unix', path('app.sock'), '--bind', 'localhost:0']
    const args = [...places, '--pid', path('pid'), '--control', path('control')]
    using program = Program.serve('hello.ts', args, { env })
    assert.deepEqual(await program.exit(), clean, program.stderr)
    // What was there before was not replaced, since no worker came to listen
    assert.deepEqual(readdirSync(folder.path).toSorted(), ['app.sock', 'signals.mjs'])
  })

  it('H16 never remove a Unix socket that was inherited', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'app.sock')
    const options: object = { path }
    using socket = new net.BoundSocket(options)
    const stdio = ['ignore', 'pipe', 'pipe', socket.fd()] as const
    const program = join(root, 'test/programs/supervised.ts')
    const args = [MAIN, 'serve', program, '--fd', '3', '--workers', '2']
    using served = new Program(args, { stdio: [...stdio] })
    await served.event('worker.ready')
    assert.equal(await statusOf(path), 200)
    served.signal('SIGTERM')
    assert.deepEqual(await served.exit(), clean)
    assert.equal(existsSync(path), true)
  })

  it('listen at both addresses of localhost', async () => {
    const program = join(root, 'test/programs/supervised.ts')
    const args = [MAIN, 'serve', program, '--bind', 'localhost:0', '--workers', '1']
    using served = new Program(args)
    await served.event('worker.ready')
    const urls = listeningOn(served)
    const [first] = urls
    const { port } = new URL(first!)
    const known = [`http://127.0.0.1:${port}`, `http://[::1]:${port}`]
    // A machine may speak no IPv6
    assert.deepEqual(urls, known.slice(0, urls.length))
    served.signal('SIGTERM')
    assert.deepEqual(await served.exit(), clean)
  })
})

describe('the port that a module names', together, () => {
  const served = (port: number): Record<string, string> => ({
    'app.js': `export default {
      fetch: () => new Response('hello', { headers: { worker: String(process.pid) } }), port: ${port} }`,
  })
  const serve = (path: string, ...args: string[]): Program =>
    new Program([MAIN, 'serve', 'app.js', '--workers', '2', ...args], { cwd: path })

  it('is listened on where nobody has named another place', async () => {
    const port = await freePort()
    using folder = modules(served(port))
    using program = serve(folder.path)
    await program.event('worker.ready', ({ slot }) => slot === 1)
    assert.deepEqual(listeningOn(program), [`http://127.0.0.1:${port}`])
    const before = await workerAt(port)
    assert.equal(program.names('worker.starting').length, 3, 'the first has told of it, and ended')
    program.signal('SIGHUP')
    await program.event('roll.ended')
    assert.equal(program.names('worker.starting').length, 5, 'the place is known from then on')
    assert.ok(before)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('L3 in use is one error, exit 1, and no worker stays', async () => {
    const other = net.createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    using folder = modules(served(port))
    using program = serve(folder.path)
    assert.deepEqual(await program.exit(), { code: 1, signal: null })
    assert.match(program.stderr, new RegExp(`^[^\\n]*127\\.0\\.0\\.1:${port}: the port is in use[^\\n]*\\n$`)) // oxfmt-ignore
    assert.deepEqual(program.names('worker.ready', 'service.opening'), [])
    other.close()
  })

  it('does not count beside --port', async () => {
    using folder = modules(served(1))
    using program = serve(folder.path, '--port', '0')
    await program.event('worker.ready')
    const [url] = listeningOn(program)
    assert.equal(await statusOf(Number(new URL(url!).port)), 200)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })
})

import assert from 'node:assert/strict'
import net from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { FakeSystemd } from '../helpers/fake-systemd.ts'
import { MAIN, modules, Program, type ProgramOptions } from '../helpers/program.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { root } from '../helpers/repository.ts'

const clean = { code: 0, signal: null }
const together = { concurrency: 2 }

/** As systemd starts a service: only the process itself can know its id before it is node. */
const AS_MAIN = ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh']

interface Passed extends Disposable {
  readonly ports: readonly number[]
  /** To spawn a program with these sockets, from descriptor 3 on. */
  readonly options: ProgramOptions
}

/** Sockets on free ports, to be passed on. */
function passed(count: number): Passed {
  const sockets = Array.from({ length: count }, () => new net.BoundSocket({ host: '127.0.0.1' }))
  return {
    ports: sockets.map((socket) => socket.address().port),
    options: {
      through: AS_MAIN,
      env: { LISTEN_FDS: String(count), LISTEN_FDNAMES: 'web:admin' },
      stdio: ['ignore', 'pipe', 'pipe', ...sockets.map((socket) => socket.fd())],
    },
    [Symbol.dispose]() {
      for (const socket of sockets) socket[Symbol.dispose]()
    },
  }
}

function urlOf({ ports: [port] }: Passed): string {
  return `http://127.0.0.1:${port}`
}

/** `steward serve` of the program that tells what its children get; without a place, unless one is given. */
function served(options: ProgramOptions, args: readonly string[] = []): Program {
  return new Program([MAIN, 'serve', join(root, 'test/programs/activated.ts'), ...args], options)
}

describe('socket activation', together, () => {
  it('P9 serves on the socket that systemd has passed, and no child gets any of it', async () => {
    using sockets = passed(1)
    using program = served(sockets.options)
    assert.equal(await program.url(), urlOf(sockets))
    using client = await RawClient.connect(sockets.ports[0]!)
    assert.equal((await client.request('GET /').response()).body, 'hello')
    const { variables, sockets: inherited } = await program.event('app.child')
    assert.deepEqual([variables, inherited], [[], []])
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('warning'), [])
  })

  it('P9 prefers it to the port of the module and of the environment', async () => {
    using folder = modules({
      'app.js': "export default { fetch: () => new Response('hello'), port: 1 }",
    })
    using sockets = passed(1)
    const { env, ...options } = sockets.options
    using program = new Program([MAIN, 'serve', join(folder.path, 'app.js')], {
      ...options,
      env: { ...env, PORT: '1' },
    })
    assert.equal(await program.url(), urlOf(sockets))
  })

  it('P9 prefers it to the port of the module alone', async () => {
    using folder = modules({
      'app.js': "export default { fetch: () => new Response('hello'), port: 1 }",
    })
    using sockets = passed(1)
    using program = new Program([MAIN, 'serve', join(folder.path, 'app.js')], sockets.options)
    assert.equal(await program.url(), urlOf(sockets))
  })

  it('P9 uses no socket of another process, and says to start node itself', async () => {
    using sockets = passed(1)
    const { stdio } = sockets.options
    const env = { LISTEN_PID: '1', LISTEN_FDS: '1', PORT: '0' }
    using program = served({ stdio: stdio!, env })
    const { message } = await program.event('warning')
    assert.match(
      String(message),
      /start node itself, and not through npx.*ExecStart=.*activated\.ts$/,
    )
    assert.notEqual(await program.url(), urlOf(sockets))
  })

  it('P9 serves on both of two', async () => {
    using sockets = passed(2)
    using program = served(sockets.options)
    await program.event('service.ready')
    for (const port of sockets.ports) {
      using client = await RawClient.connect(port)
      assert.equal((await client.request('GET /').response()).body, 'hello')
    }
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('warning'), [])
  })

  it('P9 lets the place on the command line win, and warns of the socket', async () => {
    using sockets = passed(1)
    using program = served(sockets.options, ['--port', '0'])
    assert.match(String((await program.event('warning'))['message']), /"web" \(descriptor 3\)/)
    assert.notEqual(await program.url(), urlOf(sockets))
  })

  it('X1 refuses a descriptor that is no socket, before anything is started', async () => {
    const stdio: ProgramOptions['stdio'] = ['ignore', 'pipe', 'pipe', 'ignore']
    using program = served({ through: AS_MAIN, env: { LISTEN_FDS: '1' }, stdio })
    assert.deepEqual(await program.exit(), { code: 1, signal: null })
    assert.match(program.stderr, /Cannot listen on file descriptor 3: it is not a socket/)
    assert.deepEqual(program.names('app.child'), [])
  })

  it('X1 refuses a LISTEN_FDS that is no number, exit 2', async () => {
    using program = served({ through: AS_MAIN, env: { LISTEN_FDS: 'all' } })
    assert.deepEqual(await program.exit(), { code: 2, signal: null })
    assert.match(program.stderr, /LISTEN_FDS=\\?"all/)
  })
})

describe('notifications', together, () => {
  const told = (systemd: FakeSystemd): ProgramOptions => ({
    env: { NOTIFY_SOCKET: systemd.socket, PATH: systemd.path, WATCHDOG_USEC: '200000' },
  })

  it('P9 tells that it is ready, that it lives and that it stops, and no child can', async () => {
    using systemd = new FakeSystemd()
    using program = served(told(systemd), ['--port', '0'])
    const url = await program.url()
    const [ready, alive] = await systemd.times(2)
    assert.deepEqual(ready, ['READY=1', `STATUS=Serving on ${url}`])
    assert.deepEqual(alive, ['WATCHDOG=1'])
    assert.deepEqual((await program.event('app.child'))['variables'], [])
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    const stops = systemd.told.filter(([first]) => first === 'STOPPING=1')
    const status = 'STATUS=Stopping (SIGTERM), within 25 s'
    assert.deepEqual(stops, [['STOPPING=1', status, 'EXTEND_TIMEOUT_USEC=27000000']])
    assert.deepEqual(program.names('warning', 'process.held'), [])
  })

  it('P9 is not held up at the end by a systemd-notify that hangs', async () => {
    using systemd = new FakeSystemd('exec sleep 5')
    using program = served(told(systemd), ['--port', '0'])
    await systemd.times(1)
    program.signal('SIGTERM')
    const began = performance.now()
    assert.deepEqual(await program.exit(), clean)
    const took = performance.now() - began
    assert.ok(took < 1_000, `${took} ms`)
    const words = (await systemd.times(2)).map(([first]) => first)
    assert.ok(words.includes('STOPPING=1'), words.join())
    assert.deepEqual(program.names('process.held'), [])
  })

  it('P9 warns once where there is no systemd-notify, and serves', async () => {
    using program = served({ env: { NOTIFY_SOCKET: '@nobody', PATH: '/nowhere' } }, ['--port', '0'])
    const { message } = await program.event('warning')
    assert.match(String(message), /no systemd-notify in the PATH/)
    assert.match((await program.get('/')).body, /hello/)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(program.names('warning'), ['warning'])
  })

  it('P9 lets a service that is a guest in its process say nothing', async () => {
    using folder = modules({
      'main.js':
        "import { serve } from 'steward'\nconst app = { fetch: () => new Response('hello') }\n" +
        'const running = await serve(app, { port: 0, signals: false })\nawait running.stop()\n' +
        "console.log(JSON.stringify({ event: 'left', socket: process.env.NOTIFY_SOCKET }))",
    })
    using systemd = new FakeSystemd()
    using program = new Program([join(folder.path, 'main.js')], told(systemd))
    assert.equal((await program.event('left'))['socket'], systemd.socket)
    assert.deepEqual(await program.exit(), clean)
    assert.deepEqual(systemd.told, [])
  })
})

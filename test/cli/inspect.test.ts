import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { inspectorOf, Inspectors, withoutInspector } from '../../src/cli/inspection.ts'
import type { ToWorker } from '../../src/supervisor/messages.ts'
import type { Child } from '../../src/supervisor/worker.ts'
import { MAIN, Program } from '../helpers/program.ts'
import { root } from '../helpers/repository.ts'
import { within } from '../helpers/within.ts'

const clean = { code: 0, signal: null }
const HELLO = join(root, 'test/programs/supervised.ts')

/** Two ports in a row that were free a moment ago. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = net.createServer().listen(0, '127.0.0.1')
    await once(first, 'listening')
    const { port } = first.address() as AddressInfo
    const second = net.createServer().listen(port + 1, '127.0.0.1')
    const isFree = await once(second, 'listening').then(() => true, () => false) // oxfmt-ignore
    for (const server of [first, second]) if (server.listening) await new Promise((resolve) => server.close(resolve)) // oxfmt-ignore
    if (isFree) return port
  }
}

/** Resolves when its standard error has so many of these. */
async function said(program: Program, what: RegExp, count: number): Promise<string[]> {
  const enough = async (): Promise<string[]> => {
    for (;;) {
      const found = program.stderr.match(what) ?? []
      if (found.length >= count) return found
      await once(program.child.stderr!, 'data')
    }
  }
  return within(10_000, enough(), `${String(what)} in ${program.stderr}`)
}

const listening = /Debugger listening on ws:\/\/127\.0\.0\.1:\d+/g

describe('--inspect', { concurrency: 2 }, () => {
  for (const way of ['of steward', 'of Node', 'in NODE_OPTIONS'] as const) {
    it(`gives each worker a port of its own that it keeps over a roll and a death, and the supervisor none: ${way}`, async () => {
      const port = await freePorts()
      const word = `--inspect=${port}`
      const serve = [MAIN, 'serve', HELLO, '--port', '0', '--workers', '2']
      const args = { 'of steward': [...serve, word], 'of Node': [word, ...serve], 'in NODE_OPTIONS': serve } // oxfmt-ignore
      const env = way === 'in NODE_OPTIONS' ? { NODE_OPTIONS: word } : {}
      using program = new Program(args[way], { env })
      await program.event('worker.ready', ({ slot }) => slot === 1)
      // Node's own says so for the supervisor, before anything of ours runs
      const own = way === 'of steward' ? 0 : 1
      await said(program, listening, 2 + own)
      program.signal('SIGHUP')
      await program.event('roll.ended')
      await program.event('worker.gone', ({ slot }) => slot === 1)
      const ports = (await said(program, listening, 4 + own)).map((line) => Number(line.slice(-String(port).length))) // oxfmt-ignore
      assert.deepEqual(
        ports.slice(own).toSorted((one, other) => one - other),
        [port, port, port + 1, port + 1],
      )
      assert.deepEqual(program.names('worker.killed'), [])
      const { pid } = program.lines.findLast((line) => line.event === 'worker.ready' && line['slot'] === 0)! // oxfmt-ignore
      assert.equal((await fetch(`http://127.0.0.1:${port}/json/list`)).status, 200)
      process.kill(Number(pid), 'SIGKILL')
      await said(program, listening, 5 + own)
      assert.doesNotMatch(program.stderr, /address already in use/)
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), clean)
    })
  }

  it('takes no module for its value, as Node does', async () => {
    using program = new Program([MAIN, 'serve', '--inspect', 'nope.ts', '--port', '0'])
    assert.equal((await program.exit()).code, 2)
    assert.match(program.stderr, /Cannot serve .*nope\.ts.*there is no such file/)
  })

  it('X1 refuses a place that is none, exit 2', async () => {
    using program = new Program([MAIN, 'serve', HELLO, '--inspect=here', '--workers', '1'])
    assert.equal((await program.exit()).code, 2)
    assert.match(program.stderr, /Cannot open the inspector at .*here.*: give a port, or host:port/)
  })

  it('with -brk waits for a debugger before the module is loaded', async () => {
    const port = await freePorts()
    const args = [MAIN, 'serve', HELLO, '--port', '0', '--workers', '1', `--inspect-brk=${port}`]
    using program = new Program(args)
    await said(program, listening, 1)
    assert.deepEqual(program.names('service.opening'), [])
    const { webSocketDebuggerUrl: url = '' } = ((await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as { webSocketDebuggerUrl?: string }[])[0]! // oxfmt-ignore
    const debug = new WebSocket(url)
    await once(debug, 'open')
    const send = (id: number, method: string): void => debug.send(JSON.stringify({ id, method }))
    const paused = new Promise<void>((resolve) => {
      debug.addEventListener('message', ({ data }) => {
        if (String(data).includes('Debugger.paused')) resolve()
      })
    })
    send(1, 'Debugger.enable')
    send(2, 'Runtime.runIfWaitingForDebugger')
    await within(10_000, paused, 'the pause')
    assert.deepEqual(program.names('service.opening'), [])
    send(3, 'Debugger.resume')
    await program.event('worker.ready')
    debug.close()
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })
})

describe('where inspectors are', () => {
  const node = (
    execArgv: string[],
    NODE_OPTIONS?: string,
  ): { execArgv: string[]; env: NodeJS.ProcessEnv } =>
    // oxfmt-ignore
    ({ execArgv, env: { HOME: '/', ...(NODE_OPTIONS === undefined ? {} : { NODE_OPTIONS }) } })

  it('is said by the command, else by the words of Node, the last of them', () => {
    const at = (port: number, waits = false, host = '127.0.0.1'): object => ({ host, port, waits })
    assert.equal(inspectorOf({}, node(['--enable-source-maps'])), undefined)
    assert.deepEqual(inspectorOf({}, node(['--inspect'])), at(9229))
    assert.deepEqual(inspectorOf({}, node(['--inspect=9400', '--inspect-brk=9500'])), at(9500, true)) // oxfmt-ignore
    assert.deepEqual(inspectorOf({}, node([], '--inspect=0.0.0.0:9600')), at(9600, false, '0.0.0.0')) // oxfmt-ignore
    assert.deepEqual(inspectorOf({}, node(['--inspect'], '--inspect=9600')), at(9229))
    assert.deepEqual(inspectorOf({ inspect: '[::1]:9700' }, node(['--inspect'])), at(9700, false, '::1')) // oxfmt-ignore
  })

  it('is handed to no child by itself', () => {
    const options = '--inspect=1 --max-http-header-size=2'
    const { execArgv, env } = withoutInspector(node(['--inspect-wait', '--import', 'tsx'], options))
    assert.deepEqual(execArgv, ['--import', 'tsx'])
    assert.deepEqual(env, { HOME: '/', NODE_OPTIONS: '--max-http-header-size=2' })
    assert.deepEqual(withoutInspector(node([], '--inspect')).env, { HOME: '/' })
  })

  it('is of the older one, as long as two live in a slot', () => {
    const inspectors = new Inspectors({ host: '127.0.0.1', port: 9229, waits: true })
    const sent: ToWorker[] = []
    const child = (pid: number): Child => ({ pid, send: (message) => void sent.push(message), kill() {}, onMessage() {}, onExit() {}, whereabouts: () => Promise.reject(new Error('asked')), isTraced: () => false }) // oxfmt-ignore
    const gone = (slot: number, pid: number): void =>
      inspectors.follow({ type: 'worker.gone', slot, pid, generation: 1, age: 1, code: 0, signal: null, cause: '' }) // oxfmt-ignore
    assert.equal(inspectors.free(1)?.port, 9230)
    inspectors.started(1, child(10))
    assert.equal(inspectors.free(1), undefined)
    inspectors.started(1, child(11))
    gone(1, 10)
    assert.deepEqual(sent, [{ t: 'inspect', host: '127.0.0.1', port: 9230, waits: false }])
    inspectors.started(1, child(12))
    gone(1, 12)
    gone(1, 11)
    assert.equal(sent.length, 1)
    assert.equal(inspectors.free(1)?.port, 9230)
  })
})

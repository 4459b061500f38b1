import assert from 'node:assert/strict'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Status } from '../../src/supervisor/status.ts'
import { MAIN, modules, Program, type Exit } from '../helpers/program.ts'

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

const APP = "export default { fetch: () => new Response('first') }"

interface Ran extends Exit {
  readonly out: string
  readonly error: string
}

/** A user's own place: services in it, and commands that find them. */
class Home implements Disposable {
  readonly path: string
  readonly #files: Disposable
  readonly #services: Program[] = []

  constructor() {
    this.#files = modules({ 'app.mjs': APP })
    this.path = (this.#files as ReturnType<typeof modules>).path
  }

  get env(): Record<string, string> {
    // The commands look into the temporary folder as well, where services of others may be
    return { XDG_RUNTIME_DIR: this.path, TMPDIR: this.path }
  }

  /** A service with two workers, both of them ready. */
  async serve(...args: string[]): Promise<Program> {
    const all = ['--workers', '2', '--log', 'json', ...args]
    const program = Program.serve(join(this.path, 'app.mjs'), all, { env: this.env })
    this.#services.push(program)
    for (const slot of [0, 1]) await program.event('worker.ready', (line) => line['slot'] === slot)
    return program
  }

  async run(...args: string[]): Promise<Ran> {
    using program = new Program([MAIN, ...args], { env: this.env })
    const exit = await program.exit()
    return { ...exit, out: program.stdout, error: program.stderr }
  }

  async status(...args: string[]): Promise<Status> {
    const { out, error } = await this.run('status', '--json', ...args)
    assert.equal(error, '')
    return JSON.parse(out) as Status
  }

  [Symbol.dispose](): void {
    for (const service of this.#services) service[Symbol.dispose]()
    this.#files[Symbol.dispose]()
  }
}

describe('the commands', together, () => {
  it('V11 find the only service; its socket and the folder are for its user alone', async () => {
    using home = new Home()
    const program = await home.serve()
    const folder = join(home.path, 'steward')
    assert.deepEqual(readdirSync(folder), [`${program.child.pid}.sock`])
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    assert.equal(statSync(join(folder, readdirSync(folder)[0]!)).mode & 0o777, 0o600)

    const { url, state, pid, target, workers, service } = await home.status()
    assert.deepEqual([state, pid, target], ['running', program.child.pid, 2])
    assert.equal(service, join(home.path, 'app.mjs'))
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/)
    assert.deepEqual(
      workers.map(({ slot, state: is, generation, restarts }) => [slot, is, generation, restarts]),
      [
        [0, 'ready', 1, 0],
        [1, 'ready', 1, 0],
      ],
    )
    for (const { pid: worker, figures } of workers) {
      assert.ok(process.kill(worker!, 0))
      const { rss, heap, served, underWay, oldest } = figures!
      assert.ok(rss > heap && heap > 1_000_000, `${rss} and ${heap} bytes`)
      assert.deepEqual([served, underWay, oldest], [0, 0, 0])
    }

    const { out } = await home.run('status')
    const [head, , titles, ...rows] = out.trimEnd().split('\n')
    assert.match(head!, /app\.mjs {2}http:\/\/\S+ {2}running {2}process \d+, since \d{4}-/)
    assert.match(
      titles!,
      /^ +SLOT +PID +GEN +STATE +AGE +RESTARTS +SERVED +CONNS +REQS +OLDEST +LOOP +DELAY +HEAP +MEMORY$/,
    )
    assert.equal(rows.length, 2)
    for (const row of rows) {
      assert.match(row, /^ +[01] +\d+ +1 +ready +\d+s( +0){4} +- +\d+% +[\d.]+m?s +[\d.]+ MB +[\d.]+ MB$/) // oxfmt-ignore
    }
  })

  it('V2 reload, and say with --wait when it is done', async () => {
    using home = new Home()
    const program = await home.serve()
    const before = await home.status()
    writeFileSync(join(home.path, 'app.mjs'), APP.replace('first', 'second'))
    const { code, out, error } = await home.run('reload', '--wait')
    assert.deepEqual([code, error], [0, ''])
    assert.match(out, /^reloaded in \d+\.\d s, now generation 2\n$/)
    const { workers, generation, rolling } = await home.status()
    assert.deepEqual([generation, rolling], [2, undefined])
    const ready = workers.filter(({ state }) => state === 'ready')
    assert.deepEqual([ready.length, ready.every((one) => one.generation === 2)], [2, true])
    const old = before.workers.map(({ pid }) => pid)
    assert.ok(ready.every(({ pid }) => !old.includes(pid)))
    assert.equal(await (await fetch(before.url)).text(), 'second')
    assert.deepEqual(await stopped(program), { code: 0, signal: null })
  })

  it('V2 exit with 1 and say why when the new code does not start; the old workers serve on', async () => {
    using home = new Home()
    await home.serve()
    const before = await home.status()
    writeFileSync(join(home.path, 'app.mjs'), "throw new Error('no database')")
    const { code, out, error } = await home.run('reload', '--wait')
    assert.deepEqual([code, out], [1, ''])
    assert.match(
      error,
      /^steward: Cannot reload: worker 0 \(process \d+\): its start failed: Cannot load ".*app\.mjs": no database \(ERR_CONTROL\)\n$/,
    )
    const { workers, failed } = await home.status()
    assert.deepEqual(
      workers.map(({ pid, generation, restarts }) => [pid, generation, restarts]),
      before.workers.map(({ pid }) => [pid, 1, 0]),
    )
    assert.equal(failed!.generation, 2)
    assert.match((await home.run('status')).out, /the reload to generation 2 failed: .*no database/)
    assert.equal(await (await fetch(before.url)).text(), 'first')
  })

  it('V5 scale, up and down', async () => {
    using home = new Home()
    const program = await home.serve()
    assert.equal((await home.run('scale', '3')).out, 'scaling to 3 workers\n')
    await program.event('worker.ready', ({ slot }) => slot === 2)
    assert.equal((await home.run('scale', '1')).out, 'scaling to 1 worker\n')
    await program.event('worker.gone', ({ slot }) => slot === 2)
    await program.event('worker.gone', ({ slot }) => slot === 1)
    const { target, workers } = await home.status()
    assert.deepEqual([target, workers.map(({ slot }) => slot)], [1, [0]])
    for (const number of ['0', '10000', '1.5', 'many']) {
      const { code, error } = await home.run('scale', number)
      assert.equal(code, 2)
      assert.match(error, /It is no number of workers/)
    }
  })

  it('V16 show how often a worker of a slot has died', async () => {
    using home = new Home()
    const program = await home.serve()
    const { workers } = await home.status()
    process.kill(workers[1]!.pid!, 'SIGKILL')
    await program.event('worker.ready', ({ slot, pid }) => slot === 1 && pid !== workers[1]!.pid)
    const after = await home.status()
    assert.deepEqual(
      after.workers.map(({ restarts }) => restarts),
      [0, 1],
    )
  })

  it('stop, and wait with --wait until the process and its socket are gone', async () => {
    using home = new Home()
    const program = await home.serve()
    const { code, out } = await home.run('stop', '--wait')
    assert.deepEqual([code, out], [0, 'stopped\n'])
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
    assert.deepEqual(readdirSync(join(home.path, 'steward')), [])
    const again = await home.run('stop')
    assert.equal(again.code, 2)
    assert.match(again.error, /^steward: Cannot find a service to stop: none runs .*\n$/)
  })

  it('name those that run when there are several, and take one by its pid', async () => {
    using home = new Home()
    const [one, other] = await Promise.all([home.serve(), home.serve()])
    const { code, error } = await home.run('reload', '--wait')
    assert.equal(code, 2)
    assert.match(error, /^steward: Cannot reload without knowing which: 2 services run; give one/)
    for (const { child } of [one, other]) assert.ok(error.includes(`--pid ${child.pid}  `))
    const { out } = await home.run('status', '--json')
    const shown = out.trimEnd().split('\n').map((line) => (JSON.parse(line) as Status).pid) // oxfmt-ignore
    assert.deepEqual(new Set(shown), new Set([one.child.pid, other.child.pid]))
    assert.equal((await home.run('stop', '--wait', '--pid', `${one.child.pid}`)).code, 0)
    assert.equal((await home.status()).pid, other.child.pid)
    const gone = await home.run('stop', '--pid', `${one.child.pid}`)
    assert.equal(gone.code, 2)
    assert.match(gone.error, /process \d+ is none that runs under a supervisor as this user/)
  })

  it('V11 remove what a service has left behind that was killed', async () => {
    using home = new Home()
    const program = await home.serve()
    const socket = join(home.path, 'steward', `${program.child.pid}.sock`)
    program.signal('SIGKILL')
    await program.exited
    assert.ok(existsSync(socket))
    assert.equal((await home.run('status')).code, 2)
    assert.equal(existsSync(socket), false)
  })

  it('watch a service to its end', async () => {
    using home = new Home()
    const program = await home.serve()
    using watching = new Program([MAIN, 'status', '--watch', '--json'], { env: home.env })
    const { promise, resolve } = Promise.withResolvers<void>()
    watching.child.stdout!.on('data', () => watching.stdout.split('\n').length > 2 && resolve())
    await promise
    program.signal('SIGTERM')
    assert.deepEqual(await watching.exit(), { code: 0, signal: null })
    assert.equal(watching.stderr, '')
  })
})

describe('steward serve --control', together, () => {
  it('V11 puts the socket at a path, of mode 0600 in a folder that others may enter', async () => {
    using home = new Home()
    const path = join(home.path, 'control.sock')
    const program = await home.serve('--control', path)
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.equal(existsSync(join(home.path, 'steward')), false)
    assert.equal((await home.run('status')).code, 2)
    assert.equal((await home.status('--control', path)).pid, program.child.pid)

    const second = await startOf(home, '--control', path)
    assert.equal(second.code, 2)
    assert.match(second.error, /Cannot open the control socket ".*": another service has it/)
    assert.deepEqual(second.events, [])
    assert.equal((await home.run('stop', '--wait', '--control', path)).code, 0)
    assert.equal(existsSync(path), false)
    const { error } = await home.run('stop', '--control', path)
    assert.match(error, /^steward: .*no service listens there .*\n$/, 'one sentence, and no stack')
  })

  it('V11 takes the place of a service that was killed', async () => {
    using home = new Home()
    const path = join(home.path, 'control.sock')
    const program = await home.serve('--control', path)
    program.signal('SIGKILL')
    await program.exited
    const successor = await home.serve('--control', path)
    assert.equal((await home.status('--control', path)).pid, successor.child.pid)
  })

  it('is refused, before anything is started, where it cannot be', async () => {
    using home = new Home()
    const wrong = await startOf(home, '--control', join(home.path, 'missing/control.sock'))
    assert.deepEqual([wrong.code, wrong.events], [2, []])
    assert.match(
      wrong.error,
      /Cannot open the control socket ".*missing\/control\.sock": its folder does not exist/,
    )
    using alone = Program.alone(join(home.path, 'app.mjs'), ['--control', 'c.sock'])
    assert.equal((await alone.exit()).code, 2)
    assert.match(alone.stderr, /without a supervisor nobody serves it; leave out --no-supervisor/)
  })

  it('makes no socket with --no-control', async () => {
    using home = new Home()
    await home.serve('--no-control')
    assert.equal(existsSync(join(home.path, 'steward')), false)
    assert.equal((await home.run('status')).code, 2)
  })

  it('serves, with a warning, where no default place can be used', async () => {
    using home = new Home()
    writeFileSync(join(home.path, 'steward'), 'in the way')
    using program = Program.serve(join(home.path, 'app.mjs'), ['--workers', '1'], {
      env: { ...home.env, TMPDIR: join(home.path, 'missing') },
    })
    const { message } = await program.event('warning')
    assert.match(
      String(message),
      /^Cannot be controlled by steward status, .*or is none; .*cannot be made \(ENOENT\)/,
    )
    await program.event('worker.ready')
    assert.deepEqual(await stopped(program), { code: 0, signal: null })
  })
})

async function stopped(program: Program): Promise<Exit> {
  program.signal('SIGTERM')
  return program.exit()
}

/** A start that is to fail. */
async function startOf(
  home: Home,
  ...args: string[]
): Promise<{ code: number | null; error: string; events: string[] }> {
  const all = ['--workers', '2', ...args]
  using program = Program.serve(join(home.path, 'app.mjs'), all, { env: home.env })
  const { code } = await program.exit()
  const { message } = JSON.parse(program.stderr) as { message: string }
  return { code, error: message, events: program.names('worker.starting') }
}

import assert from 'node:assert/strict'
import net, { type AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { perApp, perRequest, request, serve, service, start, stopping } from '../../src/index.ts'
import type { FetchApp, Running, ServeOptions } from '../../src/index.ts'
import type { ServiceOptions } from '../../src/service/service.ts'
import { Gate } from '../helpers/gate.ts'
import { Program } from '../helpers/program.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { Told } from '../helpers/told.ts'
import { errorOf, stewardErrorOf, Trace } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'

/** Serves without touching the process, on a free port. */
const quietly = { port: 0, signals: false } as const satisfies ServeOptions

const hello: FetchApp = { fetch: () => new Response('hello') }

/** A service whose every step leaves a line. */
function traced(trace: Trace, app: FetchApp = hello): ReturnType<typeof service> {
  const db = trace.app('db')
  const pool = trace.app('pool', { db })
  const add = (line: string) => () => trace.add(line)
  return service({
    app,
    resources: { pool },
    onStartup: [add('onStartup 1'), add('onStartup 2')],
    onShutdown: [add('onShutdown 1'), add('onShutdown 2')],
    onDrained: [add('onDrained 1'), add('onDrained 2')],
    async *lifespan() {
      trace.add('lifespan begins')
      yield
      trace.add('lifespan ends')
    },
  })
}

function portOf(running: Running): number {
  return Number(new URL(running.url).port)
}

/** Is a connection to that port refused? */
async function refused(port: number): Promise<boolean> {
  return RawClient.connect(port).then(
    (client) => (client.destroy(), false),
    (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
  )
}

async function busyPort(): Promise<AsyncDisposable & { port: number }> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  return { port, [Symbol.asyncDispose]: async () => void server.close() }
}

async function freePort(): Promise<number> {
  await using taken = await busyPort()
  return taken.port
}

/** Asks it once, on a connection that does not stay. */
async function textOf({ url }: Running): Promise<string> {
  return (await fetch(url, { headers: { connection: 'close' } })).text()
}

const never = new Promise<never>(() => {})

describe('a start', () => {
  it('L1 opens resources, then the lifespan, then onStartup, then the listener', async () => {
    const trace = new Trace()
    await using running = await serve(traced(trace), {
      ...quietly,
      on: ({ type }) => type === 'service.listening' && trace.add('listens'),
    })
    assert.deepEqual(trace.take(), [
      'open db', 'open pool', 'lifespan begins', 'onStartup 1', 'onStartup 2', 'listens',
    ]) // oxfmt-ignore
    assert.equal(await textOf(running), 'hello')
  })

  it('L1 refuses connections until then', async () => {
    const port = await freePort()
    const seen: boolean[] = []
    const look = async (): Promise<void> => void seen.push(await refused(port))
    const db = perApp(look)
    async function* lifespan(): AsyncGenerator<void, void, void> {
      await look()
      yield
    }
    const options = { app: hello, resources: { db }, onStartup: look, lifespan }
    await using running = await serve(service(options), { ...quietly, port })
    assert.deepEqual(seen, [true, true, true])
    assert.equal(portOf(running), port)
  })

  it('L2 undoes a failed hook in reverse, and says what failed first', async () => {
    const trace = new Trace()
    const pool = trace.app('pool', { db: trace.app('db') })
    const failing = service({
      app: hello,
      resources: { pool },
      onStartup: () => Promise.reject(new Error('no migration')),
      onDrained: () => trace.add('onDrained'),
      async *lifespan() {
        yield
        trace.add('lifespan ends')
      },
    })
    const port = await freePort()
    const error = await stewardErrorOf(serve(failing, { ...quietly, port }))
    assert.equal(error.code, 'ERR_HOOK')
    assert.equal(error.message, 'Cannot finish onStartup: no migration')
    assert.deepEqual(trace.take().slice(2), [
      'lifespan ends',
      'close pool',
      'closed pool',
      'close db',
      'closed db',
    ])
    assert.ok(await refused(port))
  })

  it('L2 reports the path and every error of the undoing', async () => {
    const db = perApp(function* () {
      yield 'db'
      throw new Error('db will not close')
    })
    const pool = perApp({ db }, () => {
      throw new Error('no pool')
    })
    const users = perApp({ pool }, () => 'users')
    const error = await stewardErrorOf(serve(service({ resources: { users } }), quietly))
    assert.equal(error.code, 'ERR_OPEN')
    assert.deepEqual(error.path, ['users', 'pool'])
    assert.match(error.message, /^Cannot open "pool" \(users → pool\): no pool \(and 1 more/)
    assert.deepEqual(messagesOf(error.errors), ['no pool', 'db will not close'])
  })

  it('L2 reports what fails while a failed hook is undone', async () => {
    const db = perApp(function* () {
      yield 'db'
      throw new Error('db will not close')
    })
    const failing = service({
      resources: { db },
      onStartup: () => Promise.reject(new Error('no migration')),
      async *lifespan() {
        yield
        throw new Error('no goodbye')
      },
    })
    const error = await stewardErrorOf(serve(failing, quietly))
    assert.equal(error.code, 'ERR_HOOK')
    assert.deepEqual(messagesOf(error.errors), [
      'Cannot finish onStartup: no migration',
      'Cannot finish lifespan after its yield: no goodbye',
      'db will not close',
    ])
  })

  it('L2 closes what is open when an app resource gives no app', async () => {
    const trace = new Trace()
    const web = perApp({ db: trace.app('db') }, (): FetchApp => 42 as never)
    const error = await stewardErrorOf(serve(service({ app: web }), quietly))
    assert.equal(error.code, 'ERR_APP_NOT_USABLE')
    assert.deepEqual(trace.take(), ['open db', 'close db', 'closed db'])
  })

  it('L2 exits with 1', async () => {
    using program = Program.serve('start-fails.ts')
    assert.deepEqual(await program.exit(), { code: 1, signal: null })
    assert.deepEqual(program.names('app.opened', 'app.closed', 'service.listening'), [
      'app.opened',
      'app.closed',
    ])
    assert.match(program.stderr, /Cannot open \\"second\\": nobody there/)
  })

  it('L3 finds a busy port before anything of the app is started', async () => {
    const trace = new Trace()
    await using taken = await busyPort()
    const error = await stewardErrorOf(serve(traced(trace), { ...quietly, port: taken.port }))
    assert.equal(error.code, 'ERR_LISTEN')
    assert.match(
      error.message,
      new RegExp(`^Cannot listen on 127.0.0.1:${taken.port}: the port is in use`),
    )
    assert.deepEqual(trace.take(), [])
  })

  it('L3 exits with 1 when the port is busy', async () => {
    await using taken = await busyPort()
    using program = Program.serve('start-fails.ts', ['--port', String(taken.port)])
    assert.deepEqual(await program.exit(), { code: 1, signal: null })
    assert.deepEqual(program.names('app.opened'), [])
    assert.match(
      program.stderr,
      /ERR_LISTEN.*Cannot listen on 127\.0\.0\.1:\d+: the port is in use/,
    )
  })

  it('L4 aborts what is opening when it is stopped, and closes what is open', async () => {
    const trace = new Trace()
    const opening = new Gate<AbortSignal>()
    const slow = perApp({ db: trace.app('db') }, (_, context) => {
      opening.open(context.opening)
      return new Promise((_resolve, reject) => {
        context.opening.addEventListener('abort', () => reject(context.opening.reason as Error))
      })
    })
    const stop = new AbortController()
    const starting = serve(service({ resources: { slow } }), { ...quietly, signal: stop.signal })
    const signal = await opening.opened
    stop.abort()
    const error = await stewardErrorOf(starting)
    assert.ok(signal.aborted)
    assert.equal(error.code, 'ERR_OPEN_ABORTED')
    assert.deepEqual(error.errors, [])
    assert.deepEqual(trace.take(), ['open db', 'close db', 'closed db'])
  })

  it('L4 closes a value that arrives late', async () => {
    const begun = new Gate()
    const come = new Gate()
    const closed: string[] = []
    const late = perApp(async function* () {
      begun.open()
      await come.opened
      yield 'late'
      closed.push('late')
    })
    const stop = new AbortController()
    const starting = start(service({ resources: { late } }), { signal: stop.signal })
    await begun.opened
    stop.abort()
    come.open()
    assert.equal((await stewardErrorOf(starting)).code, 'ERR_OPEN_ABORTED')
    assert.deepEqual(closed, ['late'])
  })

  it('L4 never hangs on an opener or a hook that ignores it', async () => {
    for (const options of [
      { resources: { stuck: perApp(() => never) } },
      { onStartup: () => never },
      { lifespan: stuckLifespan },
    ] satisfies ServiceOptions<{}, {}>[]) {
      const told = new Told()
      const stop = new AbortController()
      const starting = start(service({ ...options, gracefulTimeout: '200ms' }), {
        signal: stop.signal,
        on: told.on,
      })
      await told.event('resources' in options ? 'resource.opening' : 'hook.started')
      stop.abort()
      const error = await within(2_000, errorOf(starting), 'the end of the start')
      const { clean } = await told.event('service.closed')
      assert.equal(clean, false)
      assert.match(String(error), /Cannot (wait for|finish opening)/)
    }
  })

  it('L4 gives a hook its time to end by its signal, and exits well', async () => {
    const begun = new Gate()
    const ended: string[] = []
    const stop = new AbortController()
    const told = new Told()
    const starting = start(
      service({
        resources: { db: perApp(() => 'db') },
        async onStartup(_, { signal }) {
          begun.open()
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          ended.push('hook')
          signal.throwIfAborted()
        },
      }),
      { signal: stop.signal, on: told.on },
    )
    await begun.opened
    stop.abort()
    assert.equal((await stewardErrorOf(starting)).code, 'ERR_STOPPING')
    assert.deepEqual(ended, ['hook'])
    assert.equal((await told.event('service.closed')).clean, true)
  })

  it('L4 runs the second half of a lifespan that comes to its yield too late', async () => {
    const begun = new Gate()
    const come = new Gate()
    const ended = new Gate()
    const stop = new AbortController()
    async function* lifespan(): AsyncGenerator<void, void, void> {
      begun.open()
      await come.opened
      yield
      ended.open()
    }
    const starting = start(service({ lifespan, gracefulTimeout: '100ms' }), { signal: stop.signal })
    await begun.opened
    stop.abort()
    assert.equal((await stewardErrorOf(starting)).code, 'ERR_HOOK_TIMEOUT')
    come.open()
    await within(2_000, ended.opened, 'the second half')
  })

  it('L4 exits with 0 when a signal ends it well, with 1 when something ignores that', async () => {
    const codes = ['heeds', 'ignores'].map(async (kind) => {
      using program = Program.serve('slow-start.ts', ['--graceful-timeout', '400ms'], {
        env: { KIND: kind },
      })
      await program.event('app.opening')
      program.signal('SIGTERM')
      const { code } = await program.exit()
      assert.deepEqual(program.names('app.closed', 'service.listening'), ['app.closed'])
      return code
    })
    assert.deepEqual(await Promise.all(codes), [0, 1])
  })
})

describe('a stop', () => {
  it('L5 runs onShutdown while every connection is open', async () => {
    const trace = new Trace()
    const handling = new Gate()
    let client: RawClient | undefined
    const app: FetchApp = {
      fetch: async (incoming) => {
        if (incoming.url.endsWith('/late')) return new Response('still served')
        handling.open()
        await new Promise((resolve) => stop.signal.addEventListener('abort', resolve))
        return new Response('told')
      },
    }
    const stop = new AbortController()
    const telling = service({
      app,
      resources: { stopping },
      async onShutdown({ stopping }) {
        trace.add(`stopping ${stopping.aborted}`)
        using late = await RawClient.connect(portOf(running))
        trace.add((await late.request('GET /late').response()).body)
        trace.add(`connected ${!client!.ended}`)
        stop.abort()
      },
    })
    await using running = await serve(telling, quietly)
    client = await RawClient.connect(portOf(running))
    client.request('GET /')
    await handling.opened
    const report = await running.stop()
    assert.deepEqual(trace.take(), ['stopping true', 'still served', 'connected true'])
    assert.equal((await client.response()).body, 'told')
    assert.equal(report.clean, true)
  })

  it('L6 drains, then runs onDrained, then the lifespan, then closes resources; each kind in reverse', async () => {
    const trace = new Trace()
    const running = await serve(traced(trace), {
      ...quietly,
      on: ({ type }) => type === 'drain.ended' && trace.add('drained'),
    })
    trace.take()
    assert.equal((await running.stop()).clean, true)
    assert.deepEqual(trace.take(), [
      'onShutdown 2', 'onShutdown 1', 'drained', 'onDrained 2', 'onDrained 1', 'lifespan ends',
      'close pool', 'closed pool', 'close db', 'closed db',
    ]) // oxfmt-ignore
  })

  it('L6 runs every hook whatever the others do, and reports every failure', async () => {
    const ran: string[] = []
    const fail = (name: string) => () => {
      ran.push(name)
      throw new Error(name)
    }
    const db = perApp(async function* () {
      yield 'db'
      fail('db')()
    })
    const failing = service({
      resources: { db },
      onShutdown: [fail('onShutdown 1'), fail('onShutdown 2')],
      onDrained: [fail('onDrained 1'), fail('onDrained 2')],
      async *lifespan() {
        yield
        fail('lifespan')()
      },
    })
    const running = await start(failing)
    const { clean, errors } = await running.stop()
    const order = ['onShutdown 2', 'onShutdown 1', 'onDrained 2', 'onDrained 1', 'lifespan', 'db']
    assert.deepEqual(ran, order)
    assert.equal(clean, false)
    assert.deepEqual(messagesOf(errors), [
      'Cannot finish onShutdown 2: onShutdown 2', 'Cannot finish onShutdown 1: onShutdown 1',
      'Cannot finish onDrained 2: onDrained 2', 'Cannot finish onDrained 1: onDrained 1',
      'Cannot finish lifespan after its yield: lifespan', 'db',
    ]) // oxfmt-ignore
    const disposing = await stewardErrorOf(running[Symbol.asyncDispose]())
    assert.equal(disposing.code, 'ERR_CLOSE')
    assert.equal(disposing.errors.length, 6)
  })

  it('L6 refuses a lifespan that yields twice, never, or is no generator', async () => {
    async function* twice(): AsyncGenerator<void, void, void> {
      yield
      yield
    }
    async function* none(): AsyncGenerator<void, void, void> {}
    const running = await start(service({ lifespan: twice }))
    const { clean, errors } = await running.stop()
    assert.equal(clean, false)
    assert.deepEqual(messagesOf(errors), [
      'Cannot end the lifespan: it yielded a second time, yield once where the service runs',
    ])
    const missing = await stewardErrorOf(start(service({ lifespan: none })))
    assert.equal(missing.code, 'ERR_LIFESPAN')
    assert.equal(
      missing.message,
      'Cannot run the lifespan: it ended without a yield, yield once where the service runs',
    )
    const plain = await stewardErrorOf(start(service({ lifespan: (() => 3) as never })))
    assert.match(plain.message, /^Cannot run the lifespan: it gave 3 \(number\), write it as/)
  })

  it('L7 names and abandons what outlives its share, and still runs the rest', async () => {
    const trace = new Trace()
    const told = new Told()
    const stuck = perApp({ db: trace.app('db') }, async function* () {
      yield 'stuck'
      await never
    })
    const options = {
      resources: { stuck },
      onShutdown: [() => trace.add('onShutdown 1'), () => never],
      onDrained: [() => trace.add('onDrained 1'), () => never],
      lifespan: stuckAtEnd,
      gracefulTimeout: '1s',
    } as const
    const running = await start(service(options), { on: told.on })
    trace.take()
    const began = performance.now()
    const { clean, errors } = await running.stop()
    assert.ok(performance.now() - began < 1_100, `took ${performance.now() - began} ms`)
    assert.equal(clean, false)
    assert.deepEqual(trace.take(), ['onShutdown 1', 'onDrained 1', 'close db', 'closed db'])
    const late = told.all('hook.late').map(({ name }) => name)
    assert.deepEqual(late, ['onShutdown 2', 'onDrained 2', 'lifespan after its yield'])
    assert.deepEqual(
      told.all('resource.late').map(({ name }) => name),
      ['stuck'],
    )
    assert.equal(errors.length, 4)
    for (const error of errors)
      assert.match(String(error), /Cannot wait for .* (had not ended|was not closed) after \d+ ms/)
  })

  it('L7 waits for work given to run, then names and abandons it', async () => {
    const db = perApp(() => 'db')
    const running = await start(service({ resources: { db }, gracefulTimeout: '300ms' }))
    const begun = new Gate()
    const quick = running.run({ db }, async () => begun.opened)
    void running.run({ db }, () => never)
    begun.open()
    const { clean, errors } = await running.stop()
    await quick
    assert.equal(clean, false)
    assert.match(
      String(errors[0]),
      /Cannot wait for run\(\{ db \}\): it had not ended \d+ ms after it began/,
    )
    assert.equal(errors.length, 1)
  })

  it('L8 gives every caller the same promise', async () => {
    const running = await start(service({ app: hello }))
    const stops = [running.stop('first'), running.stop('second'), running.force()]
    assert.ok(stops.every((one) => one === stops[0]))
    const report = await stops[0]
    assert.equal(running.state, 'closed')
    assert.equal(running.stop('third'), stops[0])
    assert.equal(await running.closed, report)
  })

  it('L8 may be called before the start, and again from a hook', async () => {
    const trace = new Trace()
    const before = await stewardErrorOf(
      serve(traced(trace), { ...quietly, signal: AbortSignal.abort() }),
    )
    assert.equal(before.code, 'ERR_STOPPING')
    assert.deepEqual(trace.take(), [])
    const told = new Told()
    const running: Running = await start(
      service({
        app: hello,
        onShutdown: () => void running.stop('again'),
        onDrained: () => void running.stop('again'),
      }),
      { on: told.on },
    )
    assert.equal((await running.stop()).clean, true)
    assert.equal(told.all('service.stopping').length, 1)
    assert.equal(told.all('service.closed').length, 1)
  })

  it('L8 refuses fetch and run after it, in words', async () => {
    const db = perApp(() => 'db')
    const running = await start(service({ app: hello, resources: { db } }))
    await running.stop()
    assert.equal((await stewardErrorOf(running.fetch('/'))).code, 'ERR_STOPPING')
    assert.equal((await stewardErrorOf(running.run({ db }, () => 1))).code, 'ERR_SCOPE_CLOSED')
  })
})

describe('a service', () => {
  it('L9 starts again with fresh resources', async () => {
    let opened = 0
    const counter = perApp(() => ++opened)
    const web = perApp({ counter }, ({ counter }) => ({
      fetch: () => new Response(`run ${counter}`),
    }))
    const definition = service({ app: web })
    for (const expected of ['run 1', 'run 2', 'run 3']) {
      await using running = await serve(definition, quietly)
      assert.equal(await textOf(running), expected)
    }
  })

  it('L9 starts again after a start that failed', async () => {
    let attempts = 0
    const flaky = perApp(() => {
      if (++attempts === 1) throw new Error('not yet')
      return attempts
    })
    const definition = service({ app: hello, resources: { flaky } })
    assert.equal((await stewardErrorOf(serve(definition, quietly))).code, 'ERR_OPEN')
    await using running = await serve(definition, quietly)
    assert.equal(await textOf(running), 'hello')
  })

  it('L10 shares nothing with another one', async () => {
    let opened = 0
    const counter = perApp(() => ++opened)
    const mine = perRequest({ counter, request }, ({ counter }) => counter)
    const app: FetchApp = { fetch: () => new Response('') }
    const definition = service({ app, resources: { counter }, everyRequest: { mine } })
    const one = await serve(definition, quietly)
    const other = await serve(definition, quietly)
    assert.equal(opened, 2)
    await one.stop()
    assert.equal(await textOf(other), '')
    assert.equal(await other.run({ counter }, ({ counter }) => counter), 2)
    assert.equal((await other.stop()).served.requests, 1)
  })

  it('L10 is waited for when the process is asked to end, however long the other takes', async () => {
    using program = Program.run('two-services.ts')
    await program.event('ready')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
    assert.deepEqual(program.names('quick.closed', 'slow.closed'), ['quick.closed', 'slow.closed'])
  })

  it('L11 hands resources to hooks and the lifespan', async () => {
    const seen: unknown[] = []
    const db = perApp(() => 'db')
    const see = (values: object): void => void seen.push({ ...values })
    const running = await start(
      service({
        resources: { db, stopping },
        onStartup: ({ db }) => see({ db }),
        onShutdown: ({ db, stopping }) => see({ db, aborted: stopping.aborted }),
        onDrained: ({ db }) => see({ db }),
        async *lifespan({ db }) {
          see({ db })
          yield
          see({ db })
        },
      }),
    )
    await running.stop()
    const plain = { db: 'db' }
    assert.deepEqual(seen, [plain, plain, { db: 'db', aborted: true }, plain, plain])
  })

  it('L12 stops in order when a resource has died', async () => {
    const trace = new Trace()
    let die: (error: unknown) => void = () => {}
    const connection = perApp({ db: trace.app('db') }, async function* (_, { fail }) {
      die = fail
      const { ok } = yield 'connection'
      trace.add(`close connection, ok ${ok}`)
    })
    const definition = service({
      resources: { connection },
      onShutdown: () => trace.add('onShutdown'),
    })
    const running = await start(definition)
    trace.take()
    die(new Error('connection lost'))
    const { clean, errors } = await running.closed
    assert.equal(clean, false)
    assert.deepEqual(messagesOf(errors), ['Cannot go on: "connection" has died: connection lost'])
    assert.deepEqual(trace.take(), [
      'onShutdown',
      'close connection, ok false',
      'close db',
      'closed db',
    ])
  })

  it('L12 fails the start when one dies while others open', async () => {
    const trace = new Trace()
    const dying = perApp({ db: trace.app('db') }, (_, { fail }) => {
      queueMicrotask(() => fail(new Error('lost')))
      return 'dying'
    })
    const slow = perApp({ dying }, (_, { opening }) => {
      const { promise, reject } = Promise.withResolvers<string>()
      opening.addEventListener('abort', () => reject(opening.reason as Error))
      return promise
    })
    const error = await stewardErrorOf(start(service({ resources: { slow } })))
    assert.equal(error.code, 'ERR_RESOURCE_DIED')
    assert.deepEqual(error.path, ['dying'])
    assert.deepEqual(trace.take(), ['open db', 'close db', 'closed db'])
  })

  it('L12 exits with 1, at start and later', async () => {
    const codes = ['start', 'later'].map(async (when) => {
      using program = Program.serve('dies.ts', [], { env: { WHEN: when } })
      const { code } = await program.exit()
      assert.deepEqual(program.names('app.closed'), ['app.closed'])
      return code
    })
    assert.deepEqual(await Promise.all(codes), [1, 1])
  })

  it('L13 has no side effect when the package is imported and things are made', async () => {
    using program = Program.run('import-only.ts')
    const { handles, listeners, globals } = await program.event('found')
    assert.deepEqual({ handles, listeners, globals }, { handles: 0, listeners: 0, globals: [] })
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
  })

  it('L13 removes the signal listeners of serve() 500 ms after the last has closed', async () => {
    using program = Program.run('serve-in-code.ts')
    const { during, at } = await program.event('closed')
    assert.equal(during, 3)
    const gone = await program.event('listeners.gone')
    const took = Number(gone['at']) - Number(at)
    assert.ok(took >= 490 && took < 1_500, `after ${took} ms`)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: null, signal: 'SIGTERM' })
  })
})

function messagesOf(errors: readonly unknown[]): string[] {
  return errors.map((error) => (error as Error).message)
}

async function* stuckLifespan(): AsyncGenerator<void, void, void> {
  await never
  yield
}

async function* stuckAtEnd(): AsyncGenerator<void, void, void> {
  yield
  await never
}

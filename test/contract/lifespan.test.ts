import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { perApp, serve, service, start } from '../../src/index.ts'
import type { FetchApp } from '../../src/index.ts'
import type { ServiceOptions } from '../../src/service/service.ts'
import { Gate } from '../helpers/gate.ts'
import { Program } from '../helpers/program.ts'
import {
  busyPort,
  freePort,
  hello,
  messagesOf,
  never,
  portOf,
  quietly,
  refused,
  stuckLifespan,
  textOf,
  traced,
} from '../helpers/services.ts'
import { Told } from '../helpers/told.ts'
import { errorOf, stewardErrorOf, Trace } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'

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

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { perApp, perRequest, request, serve, service, start, stopping } from '../../src/index.ts'
import type { FetchApp } from '../../src/index.ts'
import { Program } from '../helpers/program.ts'
import { hello, messagesOf, quietly, textOf } from '../helpers/services.ts'
import { stewardErrorOf, Trace } from '../helpers/traced.ts'

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
      using program = Program.alone('dies.ts', [], { env: { WHEN: when } })
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

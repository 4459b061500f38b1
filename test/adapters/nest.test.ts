import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { NestInterceptor } from '@nestjs/common'
import { concatMap, from, type Observable } from 'rxjs'
import { inject } from '../../src/adapters/nest.ts'
import { perApp } from '../../src/scope/resource.ts'
import { serve } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { addClientTests } from '../helpers/client-suite.ts'
import { listening, watchedHandler, watchedRequest } from '../helpers/door.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { settled } from '../helpers/fake-world.ts'
import { nestApp, nestDoor, platforms, type Method, type Outgoing } from '../helpers/nest-door.ts'
import { addBuiltinTests, addEveryRequestTests } from '../helpers/request-suite.ts'
import { quietly } from '../helpers/services.ts'
import { addStopTests } from '../helpers/stop-suite.ts'
import { addStreamTests } from '../helpers/stream-suite.ts'
import { errorOf } from '../helpers/traced.ts'
import { isOurs, overHttp } from '../helpers/way.ts'
import { within } from '../helpers/within.ts'
import { addWritingTests } from '../helpers/writing-suite.ts'

for (const platform of platforms) {
  const door = nestDoor(platform)
  addScopeTests(overHttp(door))
  addBuiltinTests(overHttp(door))
  addEveryRequestTests(overHttp(door))
  addClientTests(door)
  addWritingTests(door)
  addStopTests(door)
  addStreamTests(door)
}

const pool = perApp(() => 'pool')

for (const platform of platforms) {
  describe(`steward/nest on ${platform}`, () => {
    it('runs the lifecycle hooks at the stages of the service', async () => {
      const told: string[] = []
      const provider = Object.fromEntries(
        HOOKS.map((name) => [name, async () => void told.push(name)]),
      )
      const last = Promise.withResolvers<number>()
      const web = perApp({ pool }, () =>
        nestApp(platform, [method('/', [], () => 'fine')], { providers: [provider] }),
      )
      const running = await serve(
        service({
          app: web,
          onStartup: () => told.push('onStartup'),
          onShutdown: () => {
            told.push('onShutdown')
            last.resolve(asked(running.url))
          },
          onDrained: () => told.push('onDrained'),
        }),
        quietly,
      )
      const { clean } = await running.stop()
      assert.equal(await last.promise, 200)
      assert.equal(clean, true)
      assert.deepEqual(told, [
        'onModuleInit',
        'onApplicationBootstrap',
        'onStartup',
        'onShutdown',
        'beforeApplicationShutdown',
        'onDrained',
        'onModuleDestroy',
        'onApplicationShutdown',
      ])
    })

    it('takes the signals from its own shutdown hooks', async () => {
      const before = process.listenerCount('SIGTERM')
      const app = await nestApp(platform, [])
      app.enableShutdownHooks()
      assert.equal(process.listenerCount('SIGTERM'), before + 1)
      await using _running = await serve(service({ app }), quietly)
      assert.equal(process.listenerCount('SIGTERM'), before)
    })

    it('L1 opens what its interceptors inject before it listens, those of the app too', async () => {
      const opened: string[] = []
      const [one, two] = ['one', 'two'].map((name) => perApp(() => void opened.push(name)))
      const web = perApp(async () => {
        const app = await nestApp(platform, [method('/', [inject({ one: one! })], () => 'fine')])
        return app.useGlobalInterceptors(inject({ two: two! }))
      })
      await using asking = await listening(web)
      assert.deepEqual(opened.toSorted(), ['one', 'two'])
      assert.deepEqual(
        asking.events.filter(({ type }) => type === 'warning'),
        [],
      )
    })

    it('R11 holds what a method writes by itself', async () => {
      const { resource: tx, endings, closed } = watchedHandler(settled)
      const write = Object.assign(
        (_request: object, response: Outgoing) => response.status(201).send('written'),
        { writes: true },
      )
      await using asking = await listening(
        await nestApp(platform, [{ path: '/', interceptors: [inject({ tx })], handle: write }]),
      )
      const { status, body } = await asking.ask('GET /')
      assert.deepEqual([status, body, closed.count], [201, 'written', 1])
      assert.equal(endings[0]!.ok, true)
    })

    it('R10 keeps the scope of a request open until its events have ended', async () => {
      const { resource: unit, closed } = watchedRequest()
      const seen: number[] = []
      const deps = inject({ unit })
      const events = (): Observable<object> =>
        from(['one', 'two']).pipe(
          concatMap(async (data) => {
            await settled()
            seen.push(closed.count)
            return { data }
          }),
        )
      const { resource: tx } = watchedHandler()
      await using asking = await listening(
        await nestApp(platform, [
          { ...method('/', [deps], events), isSse: true },
          { ...method('/tx', [inject({ tx })], events), isSse: true },
        ]),
      )
      assert.match((await asking.ask('GET /')).body, /data: one[\s\S]*data: two/)
      await within(2_000, closed.reached(1), 'the close')
      assert.deepEqual(seen, [0, 0])
      assert.match((await asking.ask('GET /tx')).body, /Cannot stream while "tx" is open|broken/)
    })

    it('L9 is refused once it has been closed, and says how it starts again', async () => {
      const app = await nestApp(platform, [])
      await (await serve(service({ app }), quietly)).stop()
      const error = await errorOf(serve(service({ app }), quietly))
      assert.ok(isOurs('ERR_OPEN', /NestJS app: it has been closed, .*by a resource/)(error))
    })
  })
}

const HOOKS = [
  'onModuleInit',
  'onApplicationBootstrap',
  'beforeApplicationShutdown',
  'onModuleDestroy',
  'onApplicationShutdown',
]

function method(path: string, interceptors: NestInterceptor[], handle: () => unknown): Method {
  // Nest keeps what it knows of a method on its function
  return { path, interceptors, handle: () => handle() }
}

async function asked(url: string): Promise<number> {
  return (await fetch(url, { headers: { connection: 'close' } })).status
}

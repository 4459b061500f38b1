import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { INestApplication } from '@nestjs/common'
import type { StewardError } from '../../src/base/errors.ts'
import { perApp } from '../../src/scope/resource.ts'
import { serve } from '../../src/service/serve.ts'
import { service } from '../../src/service/service.ts'
import { nestApp, platforms } from '../helpers/nest-door.ts'
import { messagesOf, quietly } from '../helpers/services.ts'
import { errorOf } from '../helpers/traced.ts'
import { isOurs } from '../helpers/way.ts'

const HOOKS = [
  'onModuleInit',
  'onApplicationBootstrap',
  'beforeApplicationShutdown',
  'onModuleDestroy',
  'onApplicationShutdown',
]

/** A provider that tells of each of its hooks; those that are named fail. */
function provider(told: string[], ...failing: string[]): object {
  const hooks = HOOKS.map((name) => [
    name,
    async () => {
      told.push(name)
      if (failing.includes(name)) throw new Error(`${name} failed`)
    },
  ])
  return Object.fromEntries(hooks) as object
}

for (const platform of platforms) {
  const madeWith = (...providers: object[]): Promise<INestApplication> =>
    nestApp(platform, [], { providers })

  describe(`the life of a Nest app on ${platform}`, () => {
    it('L2 undoes a start whose onModuleInit fails, by its own hooks, and closes what it stands on', async () => {
      const told: string[] = []
      const pool = perApp(async function* () {
        yield 'pool'
        told.push('pool closed')
      })
      const web = perApp({ pool }, () => madeWith(provider(told, 'onModuleInit')))
      const error = await errorOf(serve(service({ app: web }), quietly))
      assert.ok(isOurs('ERR_OPEN', /^Cannot open "NestJS": onModuleInit failed$/)(error))
      assert.deepEqual(told, [
        'onModuleInit',
        'onModuleDestroy',
        'beforeApplicationShutdown',
        'onApplicationShutdown',
        'pool closed',
      ])
    })

    it('L2 tells every error of the undoing behind the first', async () => {
      const told: string[] = []
      const failing = ['onApplicationBootstrap', 'onModuleDestroy', 'onApplicationShutdown']
      const app = await madeWith(provider(told, ...failing))
      const error = (await errorOf(serve(service({ app }), quietly))) as StewardError
      assert.equal(error.code, 'ERR_OPEN')
      assert.match(error.message, /onApplicationBootstrap failed \(and 2 more/)
      assert.deepEqual(
        messagesOf(error.errors),
        failing.map((name) => `${name} failed`),
      )
      assert.deepEqual(told.toSorted(), HOOKS.toSorted())
    })

    it('L2 fails with the error of a provider that cannot be made, when Nest does not abort', async () => {
      let closed = 0
      const pool = perApp(async function* () {
        yield 'pool'
        closed++
      })
      class Broken {
        constructor() {
          throw new Error('no such database')
        }
      }
      const web = perApp({ pool }, () => madeWith(Broken))
      const error = await errorOf(serve(service({ app: web }), quietly))
      assert.ok(isOurs('ERR_OPEN', /^Cannot open "app": no such database$/)(error))
      assert.equal(closed, 1)
    })

    it('L6 runs every hook of the stop whatever one of them does, and tells each failure', async () => {
      const told: string[] = []
      const failing = ['beforeApplicationShutdown', 'onModuleDestroy', 'onApplicationShutdown']
      const app = await madeWith(provider(told, ...failing))
      const running = await serve(service({ app }), quietly)
      const { clean, errors } = await running.stop()
      assert.equal(clean, false)
      assert.deepEqual(told, HOOKS)
      assert.deepEqual(messagesOf(errors), [
        'Cannot finish beforeApplicationShutdown: beforeApplicationShutdown failed',
        'onModuleDestroy failed',
        'onApplicationShutdown failed',
      ])
    })

    it('P1 stops once, wherever the app enables its own shutdown hooks', async () => {
      const before = process.listenerCount('SIGTERM')
      const told: string[] = []
      const app = await madeWith(provider(told), {
        onModuleInit: () => void app.enableShutdownHooks(),
        onApplicationBootstrap: () => void app.enableShutdownHooks(),
      })
      app.enableShutdownHooks()
      const onStartup = (): void => void app.enableShutdownHooks()
      const running = await serve(service({ app, onStartup }), quietly)
      assert.equal(process.listenerCount('SIGTERM'), before)
      const { clean } = await running.stop()
      assert.deepEqual([clean, told], [true, HOOKS])
    })

    it('L2 has taken the signals from a Nest app that does not start', async () => {
      const before = process.listenerCount('SIGTERM')
      const app = (await madeWith(provider([], 'onModuleInit'))).enableShutdownHooks()
      await errorOf(serve(service({ app }), quietly))
      assert.equal(process.listenerCount('SIGTERM'), before)
    })
  })
}

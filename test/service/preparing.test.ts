import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fake, perApp, perRequest, serve, service, start, type Resource } from '../../src/index.ts'
import { exclusiveOf } from '../../src/service/exclusive.ts'
import { serviceOf } from '../../src/service/service.ts'
import { Gate } from '../helpers/gate.ts'
import { leave, noting } from '../helpers/journaled.ts'
import { hello, quietly } from '../helpers/services.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { Told } from '../helpers/told.ts'
import { stewardErrorOf } from '../helpers/traced.ts'

/** What has happened, in order. */
type Steps = string[]

function resource(steps: Steps, name: string): Resource<string, 'app'> {
  return perApp(
    async function* () {
      steps.push(`${name} opens`)
      yield name
      steps.push(`${name} closes`)
    },
    { name },
  )
}

describe('prepare in code', () => {
  it('L14 runs before anything else, in a scope of its own that is closed before the start', async () => {
    const steps: Steps = []
    const pool = resource(steps, 'pool')
    const definition = service({
      app: hello,
      resources: { pool },
      prepare: ({ pool }) => void steps.push(`prepare with ${pool}`),
      onStartup: () => void steps.push('onStartup'),
    })
    await using running = await serve(definition, quietly)
    assert.equal(running.state, 'running')
    assert.deepEqual(steps, [
      'pool opens',
      'prepare with pool',
      'pool closes',
      'pool opens',
      'onStartup',
    ])
  })

  it('L14 of several runs one after the other', async () => {
    const steps: Steps = []
    const first = async (): Promise<void> => {
      await Promise.resolve()
      steps.push('first')
    }
    const told = new Told()
    const definition = service({ prepare: [first, () => void steps.push('second')] })
    await using _ = await start(definition, { on: told.on })
    assert.deepEqual(steps, ['first', 'second'])
    assert.deepEqual(
      told.all('hook.ended').map(({ name }) => name),
      ['prepare 1', 'prepare 2'],
    )
  })

  it('L14 opens nothing lazy, nothing of a request, and not the app', async () => {
    const steps: Steps = []
    const pool = resource(steps, 'pool')
    const lazy = perApp(() => void steps.push('lazy opens'), { lazy: true })
    const app = perApp({ pool }, () => (steps.push('app opens'), hello))
    const audit = perRequest(() => void steps.push('audit opens'))
    const definition = service({
      app,
      resources: { pool, lazy },
      everyRequest: { audit },
      prepare: () => void steps.push('prepare'),
    })
    await using _ = await start(definition)
    assert.deepEqual(steps.slice(0, 3), ['pool opens', 'prepare', 'pool closes'])
  })

  it('L14 as a resource opens what it stands on, and nothing else', async () => {
    const steps: Steps = []
    const pool = resource(steps, 'pool')
    const rooms = resource(steps, 'rooms')
    const prepare = perApp({ pool }, ({ pool }) => void steps.push(`prepare with ${pool}`))
    const definition = service({ resources: { pool, rooms }, prepare })
    await using _ = await start(definition)
    assert.deepEqual(steps.slice(0, 3), ['pool opens', 'prepare with pool', 'pool closes'])
    assert.deepEqual(steps.filter((step) => step.startsWith('rooms')), ['rooms opens']) // oxfmt-ignore
  })

  for (const [how, prepare, code, message] of [
    [
      'a hook',
      (): never => {
        throw new Error('migration 7')
      },
      'ERR_HOOK',
      'Cannot finish prepare: migration 7',
    ],
    [
      'a resource',
      perApp((): never => {
        throw new Error('migration 7')
      }),
      'ERR_OPEN',
      'Cannot open "prepare": migration 7',
    ],
  ] as const) {
    // oxfmt-ignore
    it(`L14 that fails ends the start, with what it had opened closed: ${how}`, async () => {
      const steps: Steps = []
      const pool = resource(steps, 'pool')
      const definition = service({ app: hello, resources: { pool }, prepare, onStartup: () => void steps.push('onStartup') })
      const error = await stewardErrorOf(serve(definition, quietly))
      assert.deepEqual([error.code, error.message], [code, message])
      assert.deepEqual(steps.filter((step) => step !== 'pool opens' && step !== 'pool closes'), [])
      assert.equal(steps.filter((step) => step === 'pool opens').length, steps.filter((step) => step === 'pool closes').length)
    })
  }

  it('L14 that is stopped ends, closes what it has opened, and starts nothing', async () => {
    const steps: Steps = []
    const pool = resource(steps, 'pool')
    const began = new Gate()
    const controller = new AbortController()
    const definition = service({
      resources: { pool },
      prepare: async (_, { signal }) => {
        began.open()
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        signal.throwIfAborted()
      },
      onStartup: () => void steps.push('onStartup'),
    })
    const starting = start(definition, { signal: controller.signal })
    await began.opened
    controller.abort()
    assert.equal((await stewardErrorOf(starting)).code, 'ERR_STOPPING')
    assert.deepEqual(steps, ['pool opens', 'pool closes'])
  })

  it('L14 gets what stands in the place of its resources', async () => {
    const steps: Steps = []
    const pool = resource(steps, 'pool')
    const definition = service({
      resources: { pool },
      prepare: ({ pool }) => void steps.push(`prepare with ${pool}`),
    })
    await using _ = await start(definition, { with: [fake(pool, 'a fake')] })
    assert.deepEqual(steps, ['prepare with a fake'])
  })

  it('J2 settles what was left of a resource before it opens that one', async () => {
    using folder = temporaryFolder()
    const steps: Steps = []
    await leave(folder.path, { thing: [{ token: 'a' }] })
    const thing = noting('thing', [], ({ token }) => void steps.push(`settles ${token}`))
    const prepare = (): void => void steps.push('prepare')
    const definition = service({ name: 'kept', resources: { thing }, prepare })
    await using _ = await start(definition, { state: folder.path })
    assert.deepEqual(steps, ['settles a', 'prepare'])
  })

  it('X1 refuses what is neither a function nor a resource', () => {
    assert.throws(() => service({ prepare: 'migrate' as never }), {
      code: 'ERR_BAD_OPTION',
      message:
        'Cannot use "migrate" (string) as "prepare": pass a function, or several in an array',
    })
  })
})

describe('exclusiveOf()', () => {
  it('R21 names what only one process may hold, wherever it is, and opens nothing', () => {
    const lock = perApp(() => assert.fail('it opens'), { name: 'lock', exclusive: true })
    const other = perApp(() => assert.fail('it opens'), { name: 'other' })
    const user = perRequest({ lock }, () => 1)
    assert.deepEqual(exclusiveOf(serviceOf(service({ resources: { other } }))), [])
    assert.deepEqual(exclusiveOf(serviceOf(service({ resources: { lock, other } }))), ['lock'])
    assert.deepEqual(exclusiveOf(serviceOf(service({ everyRequest: { user } }))), ['lock'])
    const app = perApp({ lock }, () => hello)
    assert.deepEqual(exclusiveOf(serviceOf(service({ app }))), ['lock'])
  })
})

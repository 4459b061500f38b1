import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { open } from '../../src/scope/live.ts'
import { fake, swap } from '../../src/scope/override.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'
import { stewardErrorOf, Trace } from '../helpers/traced.ts'

function shop(trace: Trace) {
  const smtp = trace.app('smtp')
  const config = trace.app('config')
  const mailer = trace.app('mailer', { smtp, config })
  const audit = perRequest({ config }, () => trace.life('audit'))
  const signup = perRequest({ mailer, audit }, ({ mailer, audit }) => `${mailer} ${audit}`)
  return { smtp, config, mailer, audit, signup }
}

describe('fake()', () => {
  it('R13 replaces: neither the original nor what only it needed opens, and nothing closes for it', async () => {
    const trace = new Trace()
    const { mailer, config } = shop(trace)
    const app = await open({ mailer, config }, { with: [fake(mailer, 'a fake')] })
    assert.equal(app.values.mailer, 'a fake')
    await app.close()
    assert.deepEqual(trace.lines, ['open config', 'close config', 'closed config'])
  })

  it('R13 gives its value as it is: a promise, a generator, a disposable', async () => {
    const values = [
      Promise.resolve(1),
      (function* () {})(),
      { [Symbol.dispose]: () => assert.fail() },
    ]
    for (const value of values) {
      const one = perApp((): unknown => 0, { dispose: true })
      await using app = await open({ one }, { with: [fake(one, value)] })
      assert.equal(app.values.one, value)
    }
  })

  it('R13 replaces in requests only, too', async () => {
    const trace = new Trace()
    const { audit, signup } = shop(trace)
    await using app = await open({}, { with: [fake(audit, 'silence')] })
    assert.equal(await app.run({ signup }, ({ signup }) => signup), 'mailer silence')
  })
})

describe('swap()', () => {
  it('R13 puts another resource in its place, with its own close', async () => {
    const trace = new Trace()
    const { mailer } = shop(trace)
    const outbox = trace.app('outbox')
    const stand = trace.app('stand', { outbox })
    const app = await open({ mailer }, { with: [swap(mailer, stand)] })
    assert.equal(app.values.mailer, 'stand')
    await app.close()
    assert.deepEqual(trace.lines, [
      'open outbox', 'open stand', 'close stand', 'closed stand', 'close outbox', 'closed outbox',
    ]) // oxfmt-ignore
  })

  it('R13 may put a longer-lived one in the place of a shorter-lived one, not the reverse', async () => {
    const trace = new Trace()
    const { mailer, audit, signup } = shop(trace)
    const app = await open({ mailer }, { with: [swap(audit, trace.app('for all'))] })
    for (let i = 0; i < 2; i++) {
      assert.equal(await app.run({ signup }, ({ signup }) => signup), 'mailer for all')
    }
    assert.equal(trace.lines.filter((line) => line === 'open for all').length, 1)
    await app.close()
    const error = await stewardErrorOf(() => swap(mailer, audit as never))
    assert.equal(error.code, 'ERR_CAPTIVE')
    assert.match(error.message, /swap a resource of the app for one of the request/)
  })

  it('R13 can stand on the original’s neighbours, and both can be wanted', async () => {
    const trace = new Trace()
    const { mailer, config } = shop(trace)
    const stand = trace.app('stand', { config })
    const user = perHandler({ mailer, stand }, ({ mailer, stand }) => mailer === stand)
    await using app = await open({ mailer }, { with: [swap(mailer, stand)] })
    assert.equal(await app.run({ user }, ({ user }) => user), true)
    assert.equal(trace.lines.filter((line) => line === 'open stand').length, 1)
  })
})

describe('an override that replaces nothing', () => {
  it('R13 is an error at open, for one of the app', async () => {
    const trace = new Trace()
    const { mailer, config } = shop(trace)
    const error = await stewardErrorOf(open({ config }, { with: [fake(mailer, 'unused')] }))
    assert.equal(error.code, 'ERR_OVERRIDE_UNUSED')
    assert.match(error.message, /nothing that was opened stands on a resource of the app/)
    assert.deepEqual(trace.lines, [])
  })

  it('R13 is an error at close, for a shorter-lived one', async () => {
    const trace = new Trace()
    const { audit, config } = shop(trace)
    const app = await open({ config }, { with: [fake(audit, 'unused')] })
    const error = await stewardErrorOf(app.close())
    assert.equal(error.code, 'ERR_OVERRIDE_UNUSED')
    assert.match(error.message, /a resource of the request/)
    assert.deepEqual(trace.lines, ['open config', 'close config', 'closed config'])
  })

  it('R13 comes after the errors of the close', async () => {
    const own = perRequest(() => 1, { name: 'own' })
    const failing = perApp(function* () {
      yield 1
      throw new Error('close')
    })
    const app = await open({ failing }, { with: [fake(own, 2)] })
    const error = await stewardErrorOf(app.close())
    assert.deepEqual(
      error.errors.map((one) => (one as Error).message.slice(0, 36)),
      ['close', 'Cannot apply every override in "with'],
    )
    assert.match((error.errors[1] as Error).message, /stands on "own" of the request/)
  })

  it('is also one of two for the same resource: neither is taken', async () => {
    const one = perApp(() => 1, { name: 'one' })
    const error = await stewardErrorOf(open({ one }, { with: [fake(one, 2), fake(one, 3)] }))
    assert.equal(error.code, 'ERR_BAD_OPTION')
    assert.match(error.message, /^Cannot replace "one" twice in "with"/)
  })
})

describe('wrong overrides', () => {
  it('are refused in words', async () => {
    const one = perApp(() => 1)
    const message = async (work: () => unknown): Promise<string> =>
      (await stewardErrorOf(work)).message
    assert.match(
      await message(() => fake(1 as never, 2)),
      /Cannot fake 1 \(number\): it is no resource/,
    )
    assert.match(await message(() => swap(one, 2 as never)), /Cannot swap in 2 \(number\)/)
    assert.match(
      await message(() => open({ one }, { with: [one as never] })),
      /Cannot use .* in "with"/,
    )
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { keyed } from '../../src/scope/keyed.ts'
import { open } from '../../src/scope/live.ts'
import { fake } from '../../src/scope/override.ts'
import { perApp, perRequest } from '../../src/scope/resource.ts'
import { FakeWorld, settled } from '../helpers/fake-world.ts'
import { Gate } from '../helpers/gate.ts'
import { collect, errorOf, stewardErrorOf, Trace } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'

describe('keyed()', () => {
  it('R20 opens one instance per key, shares it, and closes all at the end', async () => {
    const trace = new Trace()
    const pool = trace.app('pool')
    const tenants = keyed((id: string) => trace.app(id, { pool }))
    const app = await open({ tenants })
    assert.deepEqual(trace.take(), [])
    const both = await Promise.all([1, 2].map(() => app.values.tenants.use('acme', (one) => one)))
    await app.values.tenants.use('ajax', (one) => assert.equal(one, 'ajax'))
    assert.deepEqual(both, ['acme', 'acme'])
    assert.deepEqual(trace.take(), ['open pool', 'open acme', 'open ajax'])
    assert.equal(app.values.tenants.size, 2)
    await app.close()
    assert.deepEqual(trace.take(), [
      'close acme', 'close ajax', 'closed acme', 'closed ajax', 'close pool', 'closed pool',
    ]) // oxfmt-ignore
  })

  it('R20 closes an instance that nobody has used for its idle time, and opens it again', async () => {
    const world = new FakeWorld()
    const trace = new Trace()
    const tenants = keyed((id: string) => trace.app(id), { idle: '5m' })
    const app = await open({ tenants }, { world })
    const { use } = app.values.tenants
    const touch = () => use.call(app.values.tenants, 'acme', () => 0)
    await touch()
    await world.advance(299_999)
    await touch()
    await world.advance(299_999)
    assert.deepEqual(trace.take(), ['open acme'])
    await world.advance(1)
    await settled()
    assert.deepEqual(trace.take(), ['close acme', 'closed acme'])
    assert.equal(app.values.tenants.size, 0)
    await touch()
    assert.deepEqual(trace.take(), ['open acme'])
    await app.close()
    assert.equal(world.timers, 0)
  })

  it('R20 keeps an instance open as long as it is leased', async () => {
    const world = new FakeWorld()
    const trace = new Trace()
    const tenants = keyed((id: string) => trace.app(id), { idle: '1m' })
    const app = await open({ tenants }, { world })
    {
      await using lease = await app.values.tenants.lease('acme')
      await app.values.tenants.use('acme', () => 0)
      await world.advance(600_000)
      assert.equal(lease.value, 'acme')
      assert.deepEqual(trace.take(), ['open acme'])
    }
    await world.advance(60_000)
    await settled()
    assert.deepEqual(trace.take(), ['close acme', 'closed acme'])
    await app.close()
  })

  it('R20 opens a key again only when its last instance has closed', async () => {
    const world = new FakeWorld()
    const gate = new Gate()
    let openNow = 0
    const tenants = keyed(
      () =>
        perApp(async function* () {
          yield ++openNow
          await gate.opened
          openNow--
        }),
      { idle: '1s' },
    )
    const app = await open({ tenants }, { world })
    await app.values.tenants.use('acme', () => 0)
    await world.advance(1_000)
    const uses = [1, 2].map(() => app.values.tenants.use('acme', (count) => count))
    await settled()
    gate.open()
    assert.deepEqual(await Promise.all(uses), [1, 1])
    await app.close()
  })

  it('R4 a failed opening is tried again, and reaches its user as it is', async () => {
    let attempts = 0
    const tenants = keyed((id: string) =>
      perApp(async () => {
        if (++attempts === 1) throw new Error(`no ${id}`)
        return attempts
      }),
    )
    await using app = await open({ tenants })
    const user = perRequest({ tenants }, ({ tenants }, { use }) => tenants.use('acme', use))
    assert.equal(((await errorOf(app.run({ user }, () => 0))) as Error).message, 'no acme')
    assert.equal(await app.run({ user }, ({ user }) => user), 2)
  })

  it('fits a request opener’s use: held until the request has ended', async () => {
    const world = new FakeWorld()
    const trace = new Trace()
    const tenants = keyed((id: string) => trace.app(id), { idle: '1s' })
    const log = perRequest({ tenants }, ({ tenants }, { use }) => tenants.use('acme', use))
    const app = await open({}, { world })
    await app.run({ log }, async ({ log }) => {
      await world.advance(10_000)
      trace.add(`used ${log}`)
    })
    await world.advance(1_000)
    await settled()
    assert.deepEqual(trace.take(), ['open acme', 'used acme', 'close acme', 'closed acme'])
    await app.close()
  })

  it('R2 closes before what its instances stand on, though that was found out late', async () => {
    const trace = new Trace()
    const lazy = trace.app('lazy')
    const tenants = keyed((id: string) => trace.app(id, { lazy }))
    const above = perApp({ tenants }, async function* ({ tenants }) {
      yield tenants
      await tenants.use('acme', (one) => trace.add(`last use of ${one}`))
    })
    const app = await open({ above })
    await app.values.above.use('acme', () => 0)
    trace.take()
    await app.close()
    assert.deepEqual(trace.take(), [
      'last use of acme', 'close acme', 'closed acme', 'close lazy', 'closed lazy',
    ]) // oxfmt-ignore
  })

  it('R8 refuses a cycle through an instance, a captive, and what is no resource of the app', async () => {
    const above = perApp(() => 1)
    const odd: Record<string, () => never> = {}
    const tenants = keyed((id: string) => odd[id]!())
    const user = perApp({ tenants }, ({ tenants }) => tenants)
    const app = await open({ user, above })
    const message = async (id: string, give: () => unknown): Promise<string> => {
      odd[id] = give as () => never
      return (await stewardErrorOf(app.values.user.use(id, () => 0))).message
    }
    assert.match(
      await message('cycle', () => perApp({ user }, () => 1)),
      /it needs itself, tenants → user/,
    )
    assert.match(await message('none', () => 1), /"tenants\(none\)": its function gave no resource/)
    assert.match(await message('request', () => perRequest(() => 1)), /gave no resource of the app/)
    const session = perRequest(() => 1)
    const captive = perApp({ session } as never, () => 1)
    assert.match(
      await message('captive', () => captive),
      /needs "session", which is closed with its request/,
    )
    await app.close()
  })

  it('reports every instance that fails to close', async () => {
    const tenants = keyed((id: string) =>
      perApp(async function* () {
        yield id
        throw new Error(`close ${id}`)
      }),
    )
    const app = await open({ tenants })
    for (const id of ['a', 'b']) await app.values.tenants.use(id, () => 0)
    const error = await stewardErrorOf(app.close())
    assert.deepEqual(
      error.errors.map((one) => (one as Error).message),
      ['close a', 'close b'],
    )
  })

  it('tells of an idle instance that fails to close', async () => {
    const world = new FakeWorld()
    const told = collect('error')
    const tenants = keyed(
      () =>
        perApp(function* () {
          yield 1
          throw new Error('no')
        }),
      { idle: '1s' },
    )
    const app = await open({ tenants }, { world, on: told.on })
    await app.values.tenants.use('acme', () => 0)
    await world.advance(1_000)
    await settled()
    assert.deepEqual(
      told.events.map(({ message }) => message),
      ['Closing "tenants(acme)" failed'],
    )
    await app.close()
  })

  it('opens no instance any more when the app is closing', async () => {
    const trace = new Trace()
    const tenants = keyed((id: string) => trace.app(id))
    const app = await open({ tenants })
    const { tenants: registry } = { ...app.values }
    await app.close()
    const error = await stewardErrorOf(
      within(
        1_000,
        registry.use('acme', () => 0),
      ),
    )
    assert.equal(error.code, 'ERR_SCOPE_CLOSED')
    assert.match(error.message, /open "tenants\(acme\)": the app scope is closed/)
    assert.deepEqual(trace.lines, [])
  })

  it('asks an instance that is opening at the end to stop', async () => {
    const tenants = keyed(() =>
      perApp(async ({ opening }) => {
        await new Promise((resolve) => opening.addEventListener('abort', resolve))
        throw opening.reason
      }),
    )
    const app = await open({ tenants })
    const using = stewardErrorOf(app.values.tenants.use('acme', () => 0))
    await settled()
    await within(1_000, app.close())
    assert.equal((await using).code, 'ERR_SCOPE_CLOSED')
  })

  it('R13 can be faked by a function from the key to the value', async () => {
    const tenants = keyed((id: string) => perApp(() => ({ id, real: true })))
    await using app = await open(
      { tenants },
      { with: [fake(tenants, (id) => ({ id, real: false }))] },
    )
    assert.deepEqual(await app.values.tenants.use('acme', (one) => one), {
      id: 'acme',
      real: false,
    })
    await using lease = await app.values.tenants.lease('ajax')
    assert.deepEqual(lease.value, { id: 'ajax', real: false })
  })

  it('refuses wrong use in words', async () => {
    const message = async (work: () => unknown): Promise<string> =>
      (await stewardErrorOf(work)).message
    assert.match(await message(() => keyed(1 as never)), /a keyed resource of 1 \(number\)/)
    assert.match(
      await message(() => keyed(() => perApp(() => 1), { idle: 5 as never })),
      /as "idle"/,
    )
    assert.match(
      await message(() => keyed(() => perApp(() => 1), { lazy: true } as never)),
      /the option "lazy"/,
    )
    const tenants = keyed(() => perApp(() => 1))
    assert.match(await message(() => fake(tenants, 1 as never)), /pass a function from the key/)
  })
})

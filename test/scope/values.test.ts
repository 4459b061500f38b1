import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { open } from '../../src/scope/live.ts'
import { perApp, type Context } from '../../src/scope/resource.ts'

const trap = {
  // oxlint-disable-next-line no-thenable -- it must not be taken for a promise
  then() {
    throw new Error('This value was taken for a promise')
  },
}
// oxlint-disable-next-line no-thenable -- neither must this
const thenables = [{ then: 'not a promise' }, trap]

describe('values', () => {
  it('R15 hands values on unharmed, whatever they look like', async () => {
    const given = [undefined, null, 0, '', false, () => 1, ...thenables, Object.create(null)]
    for (const value of given) {
      const openers = [
        perApp(() => ({ value })),
        perApp(function* () {
          yield { value }
        }),
      ]
      for (const box of openers) {
        const user = perApp({ box }, (deps) => ({ same: deps.box.value === value }))
        await using app = await open({ user })
        assert.equal(app.values.user.same, true)
      }
      const bare = perApp(() => value as unknown)
      const user = perApp({ bare }, (deps) => ({ same: deps.bare === value }))
      await using app = await open({ user, bare })
      assert.equal(app.values.user.same, true)
      assert.equal(app.values.bare, value)
    }
  })

  it('R15 hands thenables on through use and sync generators', async () => {
    const used = perApp((context: Context) => context.use(trap))
    const yielded = perApp(function* () {
      yield trap
    })
    await using app = await open({ used, yielded })
    assert.equal(app.values.used, trap)
    assert.equal(app.values.yielded, trap)
  })

  it('R15 hands the awaited value, never the promise, to dependents', async () => {
    const plain = perApp(async () => 1)
    const generator = perApp(function* () {
      yield Promise.resolve(2)
    })
    const sum = perApp({ plain, generator }, (deps) => deps.plain + deps.generator)
    await using app = await open({ sum })
    assert.equal(app.values.sum, 3)
  })
})

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { listening, route, watchedHandler, watchedRequest, type Door } from './door.ts'
import { settled } from './fake-world.ts'

/** R11 where a handler writes its response itself, or its framework does so for it. */
export function addWritingTests(door: Door): void {
  describe(`${door.name}, while a resource of the handler is open`, () => {
    it('R11 holds a large answer in one piece until it has closed', async () => {
      const { resource: tx, closed } = watchedHandler(settled)
      const body = 'x'.repeat(1_048_576)
      await using asking = await listening(
        door.app({ '/': route({ tx }, () => ({ status: 201, body })) }),
      )
      const answer = await asking.ask('POST /')
      assert.deepEqual([closed.count, answer.status, answer.body.length], [1, 201, body.length])
    })

    it('R11 refuses to stream, naming the resource and what to use', async () => {
      const { resource: tx, endings } = watchedHandler()
      await using asking = await listening(
        door.app({ '/': route({ tx }, () => ({ body: pieces() })) }),
      )
      assert.equal((await asking.ask('GET /')).status, 500)
      assert.equal(endings.length, 1)
      const { ok, error } = endings[0]!
      assert.equal(ok, false)
      assert.match(String(error), /Cannot stream while "tx" is open: .*use perRequest/)
    })

    it('R11 holds nothing without one', async () => {
      const { resource: unit } = watchedRequest()
      await using asking = await listening(
        door.app({ '/': route({ unit }, () => ({ body: pieces() })) }),
      )
      assert.equal((await asking.ask('GET /')).body, 'one two')
    })
  })
}

async function* pieces(): AsyncGenerator<string> {
  yield 'one '
  await settled()
  yield 'two'
}

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { signal } from '../../src/scope/builtin.ts'
import { perRequest } from '../../src/scope/resource.ts'
import { listening, route, watchedHandler, watchedRequest, type Door } from './door.ts'
import { settled } from './fake-world.ts'
import { Counter, Gate } from './gate.ts'
import { RawClient } from './raw-client.ts'
import { failures } from './way.ts'
import { within } from './within.ts'

/** What a client does to a request: over connections only. */
export function addClientTests(door: Door): void {
  describe(`${door.name}, when the client leaves`, () => {
    it('R10 S3 aborts `signal`, and closes once, when the handler has settled', async () => {
      const { resource: unit, closed, endings } = watchedRequest()
      const [inHandler, aborted, leave] = [new Gate(), new Gate(), new Gate()]
      await using asking = await listening(
        door.app({
          '/': route({ unit, signal }, async ({ signal }) => {
            signal.addEventListener('abort', () => aborted.open())
            inHandler.open()
            await leave.opened
            return { body: 'to nobody' }
          }),
        }),
      )
      const client = await RawClient.connect(asking.port)
      client.request('GET /')
      await within(2_000, inHandler.opened, 'the handler')
      client.reset()
      await within(2_000, aborted.opened, 'the signal')
      await settled()
      assert.equal(closed.count, 0)
      leave.open()
      await within(2_000, closed.reached(1), 'the close')
      await asking.running.stop()
      assert.equal(endings.length, 1)
      assert.deepEqual(failures(asking.events), [])
    })

    it('R10 closes once when it leaves in the middle of a body that the handler reads', async () => {
      const { resource: unit, closed, endings } = watchedRequest()
      const reading = new Gate()
      await using asking = await listening(
        door.app({
          '/': route({ unit }, async (_, asked) => {
            reading.open()
            return { body: await asked.text() }
          }),
        }),
      )
      const client = await RawClient.connect(asking.port)
      client.send('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf')
      await within(2_000, reading.opened, 'the handler')
      await settled()
      client.reset()
      await within(2_000, closed.reached(1), 'the close')
      await asking.running.stop()
      assert.equal(closed.count, 1)
      assert.equal(endings[0]!.ok, false)
      assert.deepEqual(failures(asking.events), [])
    })

    it('R10 closes once when it leaves while the answer is streamed', async () => {
      const { resource: unit, closed } = watchedRequest()
      const cleaned = new Gate()
      await using asking = await listening(
        door.app({
          '/': route({ unit }, () => ({
            body: (async function* () {
              try {
                for (;;) {
                  yield 'x'.repeat(1_000)
                  await settled()
                }
              } finally {
                cleaned.open()
              }
            })(),
          })),
        }),
      )
      const client = await RawClient.connect(asking.port)
      await client.request('GET /').sees('xxx')
      assert.equal(closed.count, 0)
      client.reset()
      await within(2_000, cleaned.opened, "the stream's own cleanup")
      await within(2_000, closed.reached(1), 'the close')
      await asking.running.stop()
      assert.equal(closed.count, 1)
      assert.deepEqual(failures(asking.events), [])
    })

    it('R10 closes once what opens after it has left', async () => {
      const [opening, open] = [new Gate(), new Gate()]
      const closed = new Counter()
      const slow = perRequest(async function* () {
        opening.open()
        await open.opened
        yield 'slow'
        closed.add()
      })
      const aborted = new Gate()
      const watcher = perRequest({ signal }, ({ signal }) => {
        signal.addEventListener('abort', () => aborted.open())
        return 'watches'
      })
      await using asking = await listening(
        door.app({ '/': route({ watcher, slow }, () => ({ body: 'to nobody' })) }),
      )
      const client = await RawClient.connect(asking.port)
      client.request('GET /')
      await within(2_000, opening.opened, 'the opener')
      client.reset()
      await within(2_000, aborted.opened, 'the signal')
      assert.equal(closed.count, 0)
      open.open()
      await within(2_000, closed.reached(1), 'the close')
      await asking.running.stop()
      assert.equal(closed.count, 1)
    })

    it('R10 closes the handler scope of one that leaves, before that of the request', async () => {
      const order: string[] = []
      const { resource: unit, closed } = watchedRequest(() => order.push('request'))
      const { resource: tx } = watchedHandler(() => order.push('handler'))
      const [inHandler, leave] = [new Gate(), new Gate()]
      await using asking = await listening(
        door.app({
          '/': route({ unit, tx }, async () => {
            inHandler.open()
            await leave.opened
            return { body: 'to nobody' }
          }),
        }),
      )
      const client = await RawClient.connect(asking.port)
      client.request('GET /')
      await within(2_000, inHandler.opened, 'the handler')
      client.reset()
      await client.closed
      leave.open()
      await within(2_000, closed.reached(1), 'the close')
      assert.deepEqual(order, ['handler', 'request'])
    })
  })
}

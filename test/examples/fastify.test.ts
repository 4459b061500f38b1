import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, it } from 'node:test'
import type { Ticket } from '../../examples/fastify/resources.ts'
import { Counter } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { Spawned } from '../helpers/spawned.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

interface Office extends AsyncDisposable {
  readonly process: Spawned
  readonly url: string
  readonly file: string
}

async function open(): Promise<Office> {
  const folder = temporaryFolder()
  const file = join(folder.path, 'tickets.db')
  const spawned = new Spawned('examples/fastify/app.ts', { env: { TICKETS_FILE: file } })
  return {
    process: spawned,
    url: await spawned.url(),
    file,
    async [Symbol.asyncDispose]() {
      await spawned[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

function post(url: string, body?: unknown): Promise<Response> {
  const headers = { 'content-type': 'application/json', connection: 'close' }
  return fetch(url, { method: 'POST', headers, body: JSON.stringify(body ?? {}) })
}

describe('examples/fastify', () => {
  it('opens and closes tickets, and takes back what it refuses', async () => {
    await using office = await open()
    const opened = await post(`${office.url}/tickets`, { title: 'Window is stuck' })
    assert.equal(opened.status, 201)
    assert.deepEqual(await opened.json(), { id: 1, title: 'Window is stuck', closed: 0 })
    assert.equal((await post(`${office.url}/tickets`, { title: '' })).status, 400)
    const close = `${office.url}/tickets/1/close`
    assert.deepEqual([(await post(close)).status, (await post(close)).status], [200, 409])
    assert.equal((await post(`${office.url}/tickets/7/close`)).status, 404)
    const list = (await (await fetch(`${office.url}/tickets`)).json()) as Ticket[]
    assert.deepEqual(
      list.map(({ closed }) => closed),
      [1],
    )
  })

  it('answers a long poll when there is a ticket, and at once when it stops', async () => {
    await using office = await open()
    const first = fetch(`${office.url}/tickets/next`)
    await post(`${office.url}/tickets`, { title: 'one' })
    assert.equal(((await (await first).json()) as { tickets: Ticket[] }).tickets.length, 1)
    using poll = await RawClient.connect(Number(new URL(office.url).port))
    // Pipelined: when the first is answered, the second waits
    poll.request('GET /tickets').request('GET /tickets/next?after=1')
    await poll.response()
    const ended = office.process.stop()
    const { status, body } = await poll.response()
    assert.deepEqual([status, JSON.parse(body)], [200, { tickets: [], stopping: true }])
    assert.equal(await ended, 0)
  })

  it('keeps every ticket that it has told of, when it is stopped under load', async () => {
    await using office = await open()
    const told = new Counter()
    const ids: number[] = []
    const clients = Array.from({ length: 20 }, async () => {
      for (;;) {
        const answer = await post(`${office.url}/tickets`, { title: 'again' }).catch(
          () => undefined,
        )
        if (!answer) return
        assert.equal(answer.status, 201)
        ids.push(((await answer.json()) as Ticket).id)
        told.add()
      }
    })
    await told.reached(100)
    assert.equal(await office.process.stop(), 0)
    await Promise.all(clients)
    const { clean, served } = await office.process.line('service.closed')
    assert.deepEqual([clean, (served as { cut: number }).cut], [true, 0])
    assert.match(office.process.errors, /The ticket office has closed/)
    using database = new DatabaseSync(office.file)
    const kept = database.prepare('select id from tickets order by id').all()
    assert.deepEqual(
      kept.map(({ id }) => id),
      ids.toSorted((one, other) => one - other),
    )
  })
})

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, it } from 'node:test'
import type { Item, Order } from '../../examples/shop/ledger.ts'
import { Counter } from '../helpers/gate.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { Spawned } from '../helpers/spawned.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const BISCUITS = 1
const TELESCOPE = 4

describe('examples/shop', () => {
  it('serves 50 orders at once, one transaction at a time', async () => {
    await using shop = await open()
    const biscuits = Array.from({ length: 40 }, () => shop.order({ item: BISCUITS }))
    const telescopes = Array.from({ length: 10 }, () => shop.order({ item: TELESCOPE }))

    const sold = await Promise.all(biscuits)
    assert.deepEqual(new Set(sold.map(({ status }) => status)), new Set([201]))
    const rare = await Promise.all(telescopes)
    assert.equal(rare.filter(({ status }) => status === 201).length, 3)
    assert.equal(rare.filter(({ status }) => status === 409).length, 7)

    // What was sold out has been rolled back, the order too
    const told = [...sold, ...rare]
      .filter(({ status }) => status === 201)
      .map(({ body }) => body.id)
    const orders = await shop.get<Order[]>('/orders')
    assert.deepEqual(
      orders.map(({ id }) => id),
      told.toSorted((one, other) => one - other),
    )
    assert.equal(await shop.stockOf(BISCUITS), 1000 - 40)
    assert.equal(await shop.stockOf(TELESCOPE), 0)
  })

  it('answers 500 when the commit fails, and keeps nothing of it', async () => {
    await using shop = await open()
    const forged = await shop.order({ item: BISCUITS, voucher: 'FORGED' })
    const good = await shop.order({ item: BISCUITS, voucher: 'WELCOME' })

    assert.equal(forged.status, 500)
    assert.equal(good.status, 201)
    assert.deepEqual(
      (await shop.get<Order[]>('/orders')).map(({ voucher }) => voucher),
      ['WELCOME'],
    )
    assert.equal(await shop.stockOf(BISCUITS), 999)
  })

  it('answers those whom it does not know with 401, and nobody has to wait for them', async () => {
    await using shop = await open()
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        shop.order({ item: BISCUITS }, index % 2 === 0 ? '' : 'ada'),
      ),
    )

    assert.deepEqual(
      answers.map(({ status }) => status),
      answers.map((_, index) => (index % 2 === 0 ? 401 : 201)),
    )
    assert.equal(await shop.stockOf(BISCUITS), 990)
  })

  it('answers 404 for an item that it does not have, and 400 for what it does not understand', async () => {
    await using shop = await open()

    assert.equal((await shop.order({ item: 77 })).status, 404)
    assert.equal((await shop.order({ item: 'tea' })).status, 400)
    assert.equal((await shop.order(null)).status, 400)
    assert.deepEqual(await shop.get('/orders'), [])
  })

  it('tells a long poll of an order when it is committed', async () => {
    await using shop = await open()
    const poll = shop.get<{ orders: Order[]; stopping: boolean }>('/orders/next?after=0')
    const { body } = await shop.order({ item: BISCUITS })

    const { orders, stopping } = await poll
    assert.deepEqual(
      orders.map(({ id }) => id),
      [body.id],
    )
    assert.equal(stopping, false)
  })

  it('is ready as long as its database is well', async () => {
    await using shop = await open()
    const { ready, checks } = await shop.get<{ ready: boolean; checks: object }>('/readyz')

    assert.equal(ready, true)
    assert.deepEqual(Object.keys(checks), ['database'])
  })

  it('shows a page that needs nothing from anywhere else', async () => {
    await using shop = await open()
    const answer = await fetch(shop.url)
    const html = await answer.text()

    assert.match(answer.headers.get('content-type')!, /^text\/html/)
    assert.match(html, /<title>/)
    assert.doesNotMatch(html, /(?:src|href)="(?!data:)|@import|url\(/)
  })

  it('ends a handler that loops until the stop at once, with a 200', async () => {
    await using shop = await open()
    using poll = await RawClient.connect(shop.port)
    // Pipelined: when the first is answered, the second is in its loop
    poll.request('GET /items').request('GET /orders/next')
    await poll.response()
    const began = performance.now()
    const ended = shop.process.stop('SIGTERM')

    const { status, headers, body } = await poll.response()
    assert.equal(status, 200)
    assert.equal(headers['connection'], 'close')
    assert.deepEqual(JSON.parse(body), { orders: [], stopping: true })
    assert.equal(await ended, 0)
    const took = performance.now() - began
    assert.ok(took < 2_000, `It took ${took} ms, the poll's own limit is 25 s`)
  })

  it('keeps every promise when it is stopped in the middle of everything', async () => {
    const shop = await open()
    await using _shop = shop
    using poll = await RawClient.connect(shop.port)
    poll.request('GET /orders/next?after=1000000')
    using report = await RawClient.connect(shop.port)
    report.request('GET /report')
    await report.sees('order  item  customer')
    const clients = new Clients(shop)
    await clients.sold.reached(20)
    const before = clients.sold.count

    const began = performance.now()

    assert.equal(await shop.process.stop('SIGTERM'), 0)
    const took = performance.now() - began
    assert.ok(took < 5_000, `It took ${took} ms: the grace is 10 s, and nobody needs it`)

    const polled = await poll.response()
    assert.equal(polled.status, 200)
    assert.deepEqual(JSON.parse(polled.body), { orders: [], stopping: true })
    const { body } = await report.response()
    assert.match(body, /The shop closes, this is the end of the report\n$/)
    const { told, failures } = await clients.done
    assert.deepEqual(failures, new Set(['ECONNREFUSED']))
    assert.ok(told.length >= before + 20, 'Orders were in flight when the stop came')
    const { clean, served } = await shop.process.line('service.closed')
    assert.equal(clean, true)
    assert.deepEqual([(served as { cut: number }).cut, (served as { left: number }).left], [0, 0])
    assertKept(shop.folder, told)
    assert.deepEqual(new Set(diaryOf(shop.folder)), new Set(DIARY))
  })

  it('finds everything again when it opens in the same folder', async () => {
    using folder = temporaryFolder()
    const first = await open(folder.path)
    const { body } = await first.order({ item: BISCUITS })
    assert.equal(await first.process.stop('SIGINT'), 0)
    await using second = await open(folder.path)

    assert.deepEqual(
      (await second.get<Order[]>('/orders')).map(({ id }) => id),
      [body.id],
    )
    assert.deepEqual(new Set(diaryOf(second.folder)), new Set(DIARY))
  })

  it('V3 keeps every promise through reloads, and what was promised through a kill', async () => {
    await using shop = await open()
    const clients = new Clients(shop)
    for (let round = 1; round <= 2; round++) {
      await clients.sold.reached(clients.sold.count + 20)
      process.kill(shop.process.pid, 'SIGHUP')
      await shop.process.line('roll.ended', round)
    }
    assert.deepEqual(clients.failures, new Set())

    // Two at first, and two for each reload
    const { pid } = await shop.process.line('worker.ready', 6)
    process.kill(pid as number, 'SIGKILL')
    await shop.process.line('worker.ready', 7)
    await shop.process.stop()
    const { told } = await clients.done
    await using again = await open(shop.folder)
    const ids = new Set((await again.get<Order[]>('/orders')).map(({ id }) => id))
    assert.deepEqual(
      told.filter((id) => !ids.has(id)),
      [],
    )
  })
})

const DIARY = [
  'The shop opens',
  'The shop is about to close; everybody is still here',
  'The shop has closed, the last customer is gone',
]

/** The entries of the shop's diary, without their times. */
function diaryOf(folder: string): string[] {
  const lines = readFileSync(join(folder, 'diary.txt'), 'utf8').trimEnd().split('\n')
  return lines.map((line) => line.replace(/^\S+ /, ''))
}

interface Answer {
  status: number
  body: Order
}

/** A shop that is open, in a process of its own, with a folder that is gone at the end of the block. */
class Shop {
  readonly process: Spawned
  readonly folder: string
  readonly url: string
  readonly #temporary: Disposable | undefined

  constructor(process: Spawned, place: { url: string; folder: string; temporary?: Disposable }) {
    this.process = process
    this.url = place.url
    this.folder = place.folder
    this.#temporary = place.temporary
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  async get<Body>(path: string): Promise<Body> {
    return (await (await fetch(this.url + path)).json()) as Body
  }

  /** Orders something. @throws `TypeError` when the connection fails */
  async order(wanted: unknown, user = 'ada'): Promise<Answer> {
    const answer = await fetch(`${this.url}/orders`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(user ? { 'x-user': user } : {}) },
      body: JSON.stringify(wanted),
    })
    const text = await answer.text()
    const body = text.startsWith('{') ? (JSON.parse(text) as Order) : ({} as Order)
    return { status: answer.status, body }
  }

  async stockOf(item: number): Promise<number> {
    const items = await this.get<Item[]>('/items')
    return items.find(({ id }) => id === item)!.stock
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]()
    this.#temporary?.[Symbol.dispose]()
  }
}

async function open(given?: string): Promise<Shop> {
  const temporary = given === undefined ? temporaryFolder() : undefined
  const folder = given ?? temporary!.path
  const options = { env: { SHOP_FOLDER: folder }, args: ['--port', '0', '--workers', '2'] }
  const process = new Spawned('examples/shop/app.ts', options)
  return new Shop(process, { url: await process.url(), folder, ...(temporary && { temporary }) })
}

/** Thirty customers, each of whom orders again as soon as they have an answer, until nobody listens any more. */
class Clients {
  readonly sold = new Counter()
  readonly done: Promise<{ told: number[]; failures: Set<unknown> }>
  readonly #shop: Shop
  readonly #told: number[] = []
  readonly failures = new Set<unknown>()

  constructor(shop: Shop) {
    this.#shop = shop
    const all = Array.from({ length: 30 }, (_, index) => this.#order(`customer ${index}`))
    this.done = Promise.all(all).then(() => ({ told: this.#told, failures: this.failures }))
  }

  async #order(customer: string): Promise<void> {
    for (;;) {
      try {
        const { status, body } = await this.#shop.order({ item: BISCUITS }, customer)
        if (status !== 201) return void this.failures.add(status)
        this.#told.push(body.id)
        this.sold.add()
      } catch (error) {
        return void this.failures.add(((error as Error).cause as { code?: string })?.code ?? error)
      }
    }
  }
}

/** The orders that the clients were told of, and no others, are in the database, which has been closed. */
function assertKept(folder: string, told: readonly number[]): void {
  assert.deepEqual(readdirSync(folder), ['diary.txt', 'shop.db'])
  using database = new DatabaseSync(join(folder, 'shop.db'))
  const ids = database
    .prepare('select id from orders order by id')
    .all()
    .map((row) => row['id'])
  assert.deepEqual(
    ids,
    told.toSorted((one, other) => one - other),
  )
  const item = database.prepare('select stock from items where id = ?').get(BISCUITS)
  assert.equal(item!['stock'], 1000 - told.length)
  assert.deepEqual(
    { ...database.prepare('pragma integrity_check').get() },
    { integrity_check: 'ok' },
  )
}

import { Hono } from 'hono'
import { streamText } from 'hono/streaming'
import { validator } from 'hono/validator'
import { signal, stopping } from 'steward'
import { inject } from 'steward/hono'
import { addOrder, listItems, ordersAfter, takeFromStock } from './ledger.ts'
import { courier, diary, news, page, reader, transaction, user } from './resources.ts'

const wanted = validator('json', (body: { item?: unknown; voucher?: unknown } | null, c) => {
  const { item, voucher = null } = body ?? {}
  if (typeof item === 'number' && (voucher === null || typeof voucher === 'string')) {
    return { item, voucher }
  }
  return c.json({ error: 'Say what you want: {"item": 1}, and perhaps "voucher": "WELCOME"' }, 400)
})

export const app = new Hono()
  .get('/', inject({ page }), (c) => c.html(c.var.page))

  .get('/items', inject({ reader }), (c) => c.json(listItems(c.var.reader)))

  .get('/orders', inject({ reader }), (c) => c.json(ordersAfter(c.var.reader, 0)))

  .get('/diary', inject({ diary }), async (c) => c.text(await c.var.diary.read()))

  // First who, then what; the transaction begins when the whole body has arrived, so that a slow client keeps nobody waiting
  .post('/orders', inject({ user }), wanted, inject({ transaction, courier }), async (c) => {
    const { user, transaction, courier } = c.var
    const order = addOrder(transaction, { ...c.req.valid('json'), customer: user })
    if (!order) return c.json({ error: 'There is no such item' }, 404)
    const pickup = await courier.nextPickup() // every other order waits meanwhile
    if (!takeFromStock(transaction, order.item)) return c.json({ error: 'Sold out' }, 409) // and the order is undone
    return c.json({ ...order, pickup }, 201)
  })

  // A long poll: answers when an order comes, after 25 s, or at once when the shop is about to close
  .get('/orders/next', inject({ reader, news, stopping, signal }), async (c) => {
    const { reader, news, stopping, signal } = c.var
    const last = Number(c.req.query('after')) || 0
    const enough = AbortSignal.any([stopping, signal, AbortSignal.timeout(25_000)])
    let orders = ordersAfter(reader, last)
    while (orders.length === 0 && !enough.aborted) {
      await news.next(enough)
      orders = ordersAfter(reader, last)
    }
    return c.json({ orders, stopping: stopping.aborted })
  })

  // A report that goes on while the shop is open, order by order, and ends by itself
  .get('/report', inject({ reader, news, stopping, signal }), (c) => {
    const { reader, news, stopping, signal } = c.var
    const enough = AbortSignal.any([stopping, signal])
    return streamText(c, async (lines) => {
      let last = 0
      await lines.writeln('order  item  customer')
      while (!enough.aborted) {
        const more = news.next(enough)
        for (const { id, name, customer } of ordersAfter(reader, last)) {
          await lines.writeln(`${id}  ${name}  ${customer}`)
          last = id
        }
        await more
      }
      await lines.writeln('The shop closes, this is the end of the report')
    })
  })

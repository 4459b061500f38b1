import type { DatabaseSync } from 'node:sqlite'

// What the shop asks of its database, in SQL

export interface Item {
  id: number
  name: string
  icon: string
  cents: number
  stock: number
}

export interface Order {
  id: number
  item: number
  customer: string
  voucher: string | null
  placed: string
}

/** An order with the name of its item. */
export interface ListedOrder extends Order {
  name: string
}

export function listItems(reader: DatabaseSync): Item[] {
  return reader.prepare('select * from items order by id').all() as unknown as Item[]
}

/** Orders are numbered as they are committed: whoever has seen number 7 has seen all before it. */
export function ordersAfter(reader: DatabaseSync, id: number): ListedOrder[] {
  return reader
    .prepare(
      `select orders.*, items.name from orders join items on items.id = orders.item
       where orders.id > ? order by orders.id`,
    )
    .all(id) as unknown as ListedOrder[]
}

/** Gives the new order, or nothing when there is no such item. */
export function addOrder(
  transaction: DatabaseSync,
  { item, customer, voucher }: Pick<Order, 'item' | 'customer' | 'voucher'>,
): Order | undefined {
  return transaction
    .prepare(
      `insert into orders (item, customer, voucher)
       select id, ?, ? from items where id = ? returning *`,
    )
    .get(customer, voucher, item) as Order | undefined
}

/** Is there one left? Then it is taken. */
export function takeFromStock(transaction: DatabaseSync, item: number): boolean {
  const { changes } = transaction
    .prepare('update items set stock = stock - 1 where id = ? and stock > 0')
    .run(item)
  return changes === 1
}

import type { DatabaseSync } from 'node:sqlite'

// What the chat asks of its database, in SQL

/** What happened in a room: somebody came, said something, or left. */
export interface Entry {
  id: number
  room: string
  kind: 'joined' | 'said' | 'left'
  who: string
  text: string
  key: string | null
  at: string
}

/** How much of a room's past somebody is told who comes, or comes back. */
const MEMORY = 100

/** Gives the new entry, or nothing when there is one with its key already. */
export function addEntry(
  transaction: DatabaseSync,
  { room, kind, who, text, key }: Omit<Entry, 'id' | 'at'>,
): Entry | undefined {
  return transaction
    .prepare(
      `insert into entries (room, kind, who, text, key) values (?, ?, ?, ?, ?)
       on conflict (key) do nothing returning *`,
    )
    .get(room, kind, who, text, key) as Entry | undefined
}

/** Entries are numbered as they are committed: whoever has seen number 7 has seen all before it. */
export function entriesAfter(reader: DatabaseSync, id: number): Entry[] {
  const select = reader.prepare('select * from entries where id > ? order by id')
  return select.all(id) as unknown as Entry[]
}

export function lastEntry(reader: DatabaseSync): number {
  return Number(reader.prepare('select max(id) as last from entries').get()!['last'])
}

/** What came after one entry of a room, up to another: all of it, or the latest, with a gap before them. */
export function entriesOf(
  reader: DatabaseSync,
  room: string,
  { after, upTo }: { after: number; upTo: number },
): { entries: Entry[]; hasGap: boolean } {
  const select = reader.prepare(
    `select * from entries where room = ? and id > ? and id <= ? order by id desc limit ?`,
  )
  const latest = select.all(room, after, upTo, MEMORY + 1) as unknown as Entry[]
  return { entries: latest.slice(0, MEMORY).reverse(), hasGap: latest.length > MEMORY }
}

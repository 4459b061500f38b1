import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setInterval, setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { HTTPException } from 'hono/http-exception'
import { perApp, perHandler, perRequest, request } from 'steward'
import { News } from './news.ts'
import { Turns } from './turn.ts'

/** What SQLite says when another process is writing. */
const SQLITE_BUSY = 5

/** Where the shop keeps its files, which all its workers share: SHOP_FOLDER, or a folder of its own beside this file. */
export const folder = perApp(async () => {
  const path = process.env.SHOP_FOLDER || fileURLToPath(new URL('data', import.meta.url))
  await mkdir(path, { recursive: true })
  return path
})

const schema = perApp(() => readFile(new URL('schema.sql', import.meta.url), 'utf8'))

/** The one handle of this worker that writes. Its health decides whether the shop is ready. */
export const database = perApp(
  { folder },
  async function* ({ folder }) {
    const database = new DatabaseSync(join(folder, 'shop.db'))
    yield database
    database.close()
  },
  { check: (database) => database.exec('select 1'), critical: true },
)

/** Its tables and what is for sale: made once, before the first worker starts. */
export const shelves = perApp({ database, schema }, ({ database, schema }) => {
  database.exec(schema)
})

/** A handle to read with: it sees what is committed, and nothing of a transaction under way. */
export const reader = perRequest(
  { database },
  ({ database }) => new DatabaseSync(database.location()!, { readOnly: true }),
  { dispose: true },
)

/** Wakes who waits for an order: `transaction` tells of those of this worker, the database of those of the others. */
export const news = perApp({ database }, async function* ({ database }) {
  const news = new News()
  const closing = new AbortController()
  const watching = watch(database, news, closing.signal)
  yield news
  closing.abort()
  await watching
})

/** `data_version` changes when another process has committed, and only then. */
async function watch(database: DatabaseSync, news: News, closing: AbortSignal): Promise<void> {
  const version = database.prepare('pragma data_version')
  let { data_version: last } = version.get()!
  try {
    for await (const _ of setInterval(100, undefined, { signal: closing })) {
      const { data_version: now } = version.get()!
      if (now !== last) news.tell()
      last = now
    }
  } catch (error) {
    if (!closing.aborted) throw error
  }
}

const turns = perApp(() => new Turns())

/** One handle serves one transaction at a time: a handler that awaits in the middle of its own keeps the others waiting. */
const turn = perHandler({ turns }, async function* ({ turns }) {
  using turn = await turns.take()
  yield turn
})

/** Committed when the handler went well, before its response leaves; rolled back when it threw or answered 4xx or 5xx. */
export const transaction = perHandler(
  { database, news, turn },
  async function* ({ database, news }) {
    await begin(database)
    const { ok } = yield database
    try {
      if (ok) database.exec('commit') // what this throws is the client's 500
    } finally {
      if (database.isTransaction) database.exec('rollback')
    }
    if (ok) news.tell()
  },
)

/** Other workers have transactions, too: to wait for theirs in SQLite would keep everybody here waiting. */
async function begin(database: DatabaseSync): Promise<void> {
  for (;;) {
    try {
      return database.exec('begin immediate')
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error
      await setTimeout(5)
    }
  }
}

/** Who asks: the header X-User, which a real shop would not believe. */
export const user = perRequest({ request }, ({ request }) => {
  const name = request.headers.get('x-user')
  if (!name) throw new HTTPException(401, { message: 'Say who you are, in the header X-User' })
  return name
})

/** Stands for a service that is asked over the network. */
export const courier = perApp(() => ({
  async nextPickup(): Promise<string> {
    await setTimeout(20)
    return new Date(Date.now() + 30 * 60_000).toISOString()
  },
}))

/** The shop's own log, beside its database. */
export const diary = perApp({ folder }, ({ folder }) => {
  const path = join(folder, 'diary.txt')
  return {
    write: (entry: string) => appendFile(path, `${new Date().toISOString()} ${entry}\n`),
    read: () => readFile(path, 'utf8'),
  }
})

export const page = perApp(() => readFile(new URL('page.html', import.meta.url), 'utf8'))

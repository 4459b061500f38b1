import { appendFile, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout } from 'node:timers/promises'
import { HTTPException } from 'hono/http-exception'
import { perApp, perHandler, perRequest, request } from 'steward'
import { News } from './news.ts'
import { Turns } from './turn.ts'

/** Where the shop keeps its files: SHOP_FOLDER, or a folder that is gone when the shop has closed. */
export const folder = perApp(async function* () {
  const given = process.env.SHOP_FOLDER
  const path = given || (await mkdtemp(join(tmpdir(), 'shop-')))
  await mkdir(path, { recursive: true })
  yield path
  if (!given) await rm(path, { recursive: true })
})

const schema = perApp(() => readFile(new URL('schema.sql', import.meta.url), 'utf8'))

/** The one handle that writes. Its health decides whether the shop is ready. */
export const database = perApp(
  { folder, schema },
  async function* ({ folder, schema }) {
    const database = new DatabaseSync(join(folder, 'shop.db'))
    database.exec(schema)
    yield database
    database.close()
  },
  { check: (database) => database.exec('select 1'), critical: true },
)

/** A handle to read with: it sees what is committed, and nothing of a transaction under way. */
export const reader = perRequest(
  { database },
  ({ database }) => new DatabaseSync(database.location()!, { readOnly: true }),
  { dispose: true },
)

export const news = perApp(() => new News())

const turns = perApp(() => new Turns())

/** One handle serves one transaction at a time: a handler that awaits in the middle of its own keeps the others waiting. */
const turn = perHandler({ turns }, async function* ({ turns }) {
  using turn = await turns.take()
  yield turn
})

/** Committed when the handler went well, before its response leaves; rolled back when it threw or answered 4xx or 5xx. */
export const transaction = perHandler({ database, news, turn }, function* ({ database, news }) {
  database.exec('begin immediate')
  const { ok } = yield database
  try {
    if (ok) database.exec('commit') // what this throws is the client's 500
  } finally {
    if (database.isTransaction) database.exec('rollback')
  }
  if (ok) news.tell()
})

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

import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { param, perApp, perHandler, query, rooms } from 'steward'
import { z } from 'zod'
import { Feed } from './feed.ts'
import type { Entry } from './history.ts'

/** Where the chat keeps its files, which all its workers share: CHAT_FOLDER, or a folder of its own beside this file. */
export const folder = perApp(async () => {
  const path = process.env.CHAT_FOLDER || fileURLToPath(new URL('data', import.meta.url))
  await mkdir(path, { recursive: true })
  return path
})

const schema = perApp(() => readFile(new URL('schema.sql', import.meta.url), 'utf8'))

/** How long a worker waits while another one writes, in milliseconds: transactions here take less than one. */
const WAIT_FOR_OTHERS = 2_000

/** The one handle of this worker that writes. */
export const database = perApp(
  { folder },
  function* ({ folder }) {
    const database = new DatabaseSync(join(folder, 'chat.db'), { timeout: WAIT_FOR_OTHERS })
    yield database
    database.close()
  },
  { check: (database) => database.exec('select 1'), critical: true },
)

/** Its tables: made once, before the first worker starts. */
export const tables = perApp({ database, schema }, ({ database, schema }) => {
  database.exec(schema)
})

/** A handle to read with: it sees what is committed, and nothing of a transaction under way. */
const reader = perApp(
  { database },
  ({ database }) => new DatabaseSync(database.location()!, { readOnly: true }),
  { dispose: true },
)

export const feed = perApp({ reader, rooms }, async function* ({ reader, rooms }, { fail }) {
  const feed = new Feed(reader, rooms)
  const closing = new AbortController()
  const watching = feed.watch(closing.signal).catch(fail)
  yield feed
  closing.abort()
  await watching
})

/** The one before, which whoever comes next waits for: one handle has one transaction at a time. */
export const queue = perApp(() => ({ last: Promise.resolve() }))

const turn = perHandler({ queue }, async function* ({ queue }) {
  const before = queue.last
  const { promise, resolve } = Promise.withResolvers<void>()
  queue.last = promise
  await before
  yield
  resolve()
})

/** One for each message: committed when the work with it went well, and then everybody is told; rolled back when it threw. */
export const transaction = perHandler({ database, feed, turn }, function* ({ database, feed }) {
  database.exec('begin immediate')
  const { ok } = yield database
  try {
    if (ok) database.exec('commit')
  } finally {
    if (database.isTransaction) database.exec('rollback')
  }
  if (ok) feed.tell()
})

/** Which room: a part of the path. Anything else is answered 400, and there is no connection. */
export const place = param(z.object({ room: z.string().regex(/^[a-z0-9-]{1,32}$/) }))

/** Who comes, and the last entry that they have seen already. A real chat would not believe the name. */
export const visitor = query(
  z.object({
    name: z.string().trim().min(1).max(32),
    after: z.coerce.number().int().min(0).default(0),
  }),
)

/** Every word that was said, in a text file: stands for an archive that takes its time, and that nobody should wait for. */
export const transcript = perApp({ folder }, ({ folder }) => {
  const path = join(folder, 'transcript.txt')
  return {
    async keep({ at, room, who, text }: Entry): Promise<void> {
      await setTimeout(300)
      await appendFile(path, `${at} #${room} ${who}: ${text.replaceAll('\n', ' ')}\n`)
    },
  }
})

export const page = perApp(() => readFile(new URL('page.html', import.meta.url), 'utf8'))

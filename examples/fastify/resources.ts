import { EventEmitter, once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import { perApp, perHandler } from 'steward'

export interface Ticket {
  id: number
  title: string
  closed: number
}

/** In the file that TICKETS_FILE names, or in memory. */
export const database = perApp(
  function* () {
    const database = new DatabaseSync(process.env.TICKETS_FILE ?? ':memory:')
    database.exec(
      `create table if not exists tickets
       (id integer primary key, title text not null, closed integer not null default 0)`,
    )
    yield database
    database.close()
  },
  { check: (database) => database.exec('select 1'), critical: true },
)

/** Tells when there may be new tickets. */
export const news = perApp(() => new EventEmitter().setMaxListeners(0))

/** The one before, which whoever comes next waits for: one handle has one transaction at a time. */
const queue = perApp(() => ({ last: Promise.resolve() }))

const turn = perHandler({ queue }, async function* ({ queue }) {
  const before = queue.last
  const { promise, resolve } = Promise.withResolvers<void>()
  queue.last = promise
  await before
  yield
  resolve()
})

/** Committed when the handler went well, before its answer leaves: a commit that fails is the client's 500. */
export const transaction = perHandler({ database, news, turn }, function* ({ database, news }) {
  database.exec('begin')
  const { ok } = yield database
  database.exec(ok ? 'commit' : 'rollback')
  if (ok) news.emit('ticket')
})

/** Resolves when there is a new ticket, or when the service stops. */
export async function newTicket(news: EventEmitter, stopping: AbortSignal): Promise<void> {
  await once(news, 'ticket', { signal: stopping }).catch(() => {})
}

import { DatabaseSync } from 'node:sqlite'
import { perApp } from 'steward'

/** In the file that LINKS_FILE names, or in memory. */
export const database = perApp(
  function* () {
    const database = new DatabaseSync(process.env.LINKS_FILE ?? ':memory:')
    database.exec(
      `create table if not exists links
       (id integer primary key, url text not null unique, visits integer not null default 0)`,
    )
    yield database
    database.close()
  },
  { check: (database) => database.exec('select 1'), critical: true },
)

/** How often each link was followed: counted in memory, written when nobody can follow one any more. */
export const visits = perApp({ database }, function* ({ database }) {
  const counts = new Map<number, number>()
  yield counts
  const add = database.prepare('update links set visits = visits + ? where id = ?')
  database.exec('begin')
  for (const [id, count] of counts) add.run(count, id)
  database.exec('commit')
})

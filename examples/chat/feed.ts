import type { DatabaseSync } from 'node:sqlite'
import { setInterval } from 'node:timers/promises'
import type { Rooms } from 'steward'
import type { Socket } from 'steward/hono'
import { entriesAfter, entriesOf, lastEntry } from './history.ts'

/** How often the database is asked whether another worker has written, in milliseconds. */
const LOOK_EVERY = 50

/**
 * Tells the rooms of this worker what has been committed, by whichever worker. The database is the only way from one member to
 * another, so everybody hears the same in the same order, however many workers there are.
 */
export class Feed {
  readonly #reader: DatabaseSync
  readonly #rooms: Rooms
  /** The number of the last entry that the rooms were told of. */
  #told: number

  constructor(reader: DatabaseSync, rooms: Rooms) {
    this.#reader = reader
    this.#rooms = rooms
    this.#told = lastEntry(reader)
  }

  /** Takes somebody in: first what is new to them, then everything as it comes. Nothing can come between the two. */
  join(socket: Socket, name: string, after: number): Disposable {
    const past = entriesOf(this.#reader, name, { after, upTo: this.#told })
    void socket.send(JSON.stringify(past))
    return this.#rooms.of(name).join(socket)
  }

  /** Something has been committed. */
  tell(): void {
    const news = entriesAfter(this.#reader, this.#told)
    this.#told = news.at(-1)?.id ?? this.#told
    for (const [room, entries] of Map.groupBy(news, (entry) => entry.room)) {
      this.#rooms.of(room).broadcast(JSON.stringify({ entries }))
    }
  }

  /** Tells what other workers commit: `data_version` changes when another handle has committed, and only then. */
  async watch(closing: AbortSignal): Promise<void> {
    const version = this.#reader.prepare('pragma data_version')
    let { data_version: last } = version.get()!
    try {
      for await (const _ of setInterval(LOOK_EVERY, undefined, { signal: closing })) {
        const { data_version: now } = version.get()!
        if (now !== last) this.tell()
        last = now
      }
    } catch (error) {
      if (!closing.aborted) throw error
    }
  }
}

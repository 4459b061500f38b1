import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Emit } from '../base/events.ts'
import type { World } from '../base/world.ts'
import { notRecovered, type Journal, type Settle } from '../scope/journal.ts'
import { checkLocal, Lock } from './liveness.ts'
import { appendTo, NotesFile, readNotes, syncFolder, unwritable, type Note } from './notes.ts'

/**
 * The notes of one service, in a folder. Each process that leaves any has two files there, `<id>.notes` and `<id>.lock`,
 * and holds the lock as long as it lives: notes whose lock is free are those of an ended process.
 *
 * ```
 * note() ──▶ left ──strike()──▶ gone                      its process closed the resource well
 *             └─ the process ends ─▶ waiting ──settle()──▶ gone
 *                                      ▲          └ recover fails, or its process ends: one attempt more
 *                                      └──────────┘
 * ```
 *
 * Two more locks keep processes apart. `folder.lock` is held for moments, by whoever makes or removes a pair of files, looks who has
 * ended, or touches what an ended one has left. `<name>.settling` is held while the notes of one resource are settled: a
 * process that wants to open the resource meanwhile waits for it, and one whose recover hangs blocks no other resource.
 */
export class FileJournal implements Journal {
  readonly folder: string
  readonly #emit: Emit
  readonly #world: World
  #ready: Promise<void> | undefined
  #own: Promise<Own> | undefined

  constructor({ folder, emit, world }: JournalSettings) {
    this.folder = folder
    this.#emit = emit
    this.#world = world
  }

  async note(resource: string, value: unknown): Promise<number> {
    const { file } = await (this.#own ??= this.#create())
    return file.add(resource, value)
  }

  async strike(notes: readonly number[]): Promise<void> {
    const own = await this.#own
    await own?.file.append({ struck: notes })
  }

  async settle(resource: string, recover: Settle, signal: AbortSignal): Promise<void> {
    await this.#prepare()
    const path = join(this.folder, `${hashOf(resource)}.settling`)
    using _ = await Lock.take(path, { world: this.#world, signal })
    const errors: unknown[] = []
    const tried = new Set<string>()
    for (;;) {
      const left = await this.#next(resource, { tried, signal })
      if (!left) break
      try {
        await recover(left.note.value, left.note.attempts + 1)
      } catch (error) {
        errors.push(error)
        continue
      }
      await this.#settled(left)
    }
    if (errors.length > 0) throw notRecovered(resource, errors, this.folder)
  }

  /** Of which resources ended processes have left notes. @throws `ERR_JOURNAL` */
  async waiting(): Promise<Set<string>> {
    await this.#prepare()
    return this.#alone(async () => {
      const left = await this.#ended()
      return new Set(left.map(({ note }) => note.resource))
    })
  }

  /** Ends it, after every resource has closed: what is not struck off stays, for the next start. */
  async close(): Promise<void> {
    const own = await this.#own?.catch(() => undefined)
    this.#own = undefined
    if (!own) return
    await own.file.close()
    if (own.file.notes.size === 0) await this.#removePair(own)
    own.lock[Symbol.dispose]()
  }

  /** Not under the eyes of whoever looks who has ended. When that takes too long, they find that nothing is left. */
  async #removePair({ file, lock }: Own): Promise<void> {
    const patience = new AbortController()
    const release = this.#world.timer(1_000, () => patience.abort(), 'idle')
    try {
      await this.#alone(async () => {
        await rm(file.path, { force: true })
        lock.remove()
      }, patience.signal)
    } catch (error) {
      if (!patience.signal.aborted) throw error
    } finally {
      release()
    }
  }

  /** @throws `ERR_JOURNAL` */
  #prepare(): Promise<void> {
    return (this.#ready ??= prepare(this.folder).catch((error: unknown) => {
      this.#ready = undefined
      throw error
    }))
  }

  async #create(): Promise<Own> {
    try {
      await this.#prepare()
      const own = await this.#alone(() => this.#createPair())
      this.#emit({ type: 'journal.opened', folder: this.folder })
      return own
    } catch (error) {
      this.#own = undefined
      throw error
    }
  }

  async #createPair(): Promise<Own> {
    const path = join(this.folder, randomUUID())
    const lock = (await Lock.tryTake(`${path}.lock`))!
    try {
      return { lock, file: await NotesFile.create(`${path}.notes`) }
    } catch (error) {
      lock.remove()
      throw error
    }
  }

  /** The next note of a resource that waits and was not tried yet; that it is tried now is on disk. */
  async #next(resource: string, { tried, signal }: Round): Promise<Left | undefined> {
    const isNext = ({ key, note }: Left): boolean => note.resource === resource && !tried.has(key)
    const own = (await this.#own)?.file
    const ours = [...(own?.notes.values() ?? [])].map((note) => leftIn(undefined, note))
    const left = ours.find(isNext)
    if (left) {
      tried.add(left.key)
      await own!.append({ tried: left.note.id })
      return left
    }
    return this.#alone(async () => {
      const other = (await this.#ended()).find(isNext)
      if (!other) return undefined
      tried.add(other.key)
      await appendTo(other.path!, { tried: other.note.id })
      return other
    }, signal)
  }

  async #settled({ path, note }: Left): Promise<void> {
    if (path === undefined) return this.strike([note.id])
    await this.#alone(async () => {
      await appendTo(path, { struck: [note.id] })
      // Removes the files when it was the last
      await this.#ended()
    })
  }

  /** All that ended processes have left. Under the folder's lock; files in which nothing is left go. */
  async #ended(): Promise<Left[]> {
    const names = await readdir(this.folder)
    const ids = new Set(names.flatMap((name) => /^(.*)\.(?:notes|lock)$/.exec(name)?.[1] ?? []))
    ids.delete(FOLDER)
    const found: Left[] = []
    for (const id of ids) found.push(...(await this.#leftBy(id)))
    return found
  }

  async #leftBy(id: string): Promise<Left[]> {
    const base = join(this.folder, id)
    const path = `${base}.notes`
    using lock = await Lock.tryTake(`${base}.lock`)
    if (!lock) return []
    const aside = `${base}.${randomUUID().slice(0, 8)}.unreadable`
    const found = await readNotes(path, aside)
    if (found?.problem !== undefined) this.#tellUnreadable(path, aside, found.problem)
    const left = [...(found?.notes.values() ?? [])].map((note) => leftIn(path, note))
    if (left.length > 0) return left
    for (const file of [path, `${path}.new`]) await rm(file, { force: true })
    lock.remove()
    return []
  }

  #tellUnreadable(path: string, aside: string, problem: string): void {
    const message = `Notes of an ended process cannot be read (${path}: ${problem}): the file is kept as ${aside}; see what was left there, what could be read of it is settled`
    this.#emit({ type: 'warning', message })
  }

  async #alone<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const path = join(this.folder, `${FOLDER}.lock`)
    using _ = await Lock.take(path, { world: this.#world, signal })
    return await work()
  }
}

/** What a journal is made with. */
export interface JournalSettings {
  readonly folder: string
  readonly emit: Emit
  readonly world: World
}

/** The lock and the notes of this process. Held until the journal is closed. */
interface Own {
  readonly lock: Lock
  readonly file: NotesFile
}

/** A note that waits: in the file of an ended process, or, without a path, of an earlier opening in this one. */
interface Left {
  readonly path: string | undefined
  readonly note: Note
  readonly key: string
}

interface Round {
  readonly tried: Set<string>
  readonly signal: AbortSignal
}

const FOLDER = 'folder'

function leftIn(path: string | undefined, note: Note): Left {
  return { path, note, key: `${path} ${note.id}` }
}

/** Names may hold anything, file names may not. */
function hashOf(name: string): string {
  return createHash('sha256').update(name).digest('hex').slice(0, 16)
}

async function prepare(folder: string): Promise<void> {
  try {
    const first = await mkdir(folder, { recursive: true, mode: 0o700 })
    if (first !== undefined) await syncFolder(dirname(first))
  } catch (error) {
    throw unwritable(folder, error)
  }
  await checkLocal(folder)
}

import { link, open, readFile, rename, writeFile, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { describeError, StewardError } from '../base/errors.ts'

/** A note that has not been struck off. */
export interface Note {
  readonly id: number
  readonly resource: string
  readonly value: unknown
  /** How often somebody has begun to settle it. */
  readonly attempts: number
}

/** A line of the file: a note is left, somebody begins to settle one, some are struck off. */
export type Entry =
  | { readonly id: number; readonly of: string; readonly note: unknown }
  | { readonly tried: number }
  | { readonly struck: readonly number[] }

/**
 * The file of the notes of one process: lines are appended, and are on disk before anybody is told. Appends of the same
 * moment share one sync. As long as the process lives nobody else opens it.
 */
export class NotesFile {
  readonly path: string
  readonly #handle: FileHandle
  readonly #notes = new Map<number, Note>()
  #count = 0
  #size = 0
  /** What the next write takes, and that write, which waits for the one before. */
  #pending = ''
  #next: Promise<void> | undefined
  #writing: Promise<void> | undefined

  private constructor(path: string, handle: FileHandle) {
    this.path = path
    this.#handle = handle
  }

  /** @throws `ERR_JOURNAL` */
  static async create(path: string): Promise<NotesFile> {
    try {
      const handle = await open(path, 'ax', 0o600)
      await syncFolder(dirname(path))
      return new NotesFile(path, handle)
    } catch (error) {
      throw unwritable(path, error)
    }
  }

  get notes(): ReadonlyMap<number, Note> {
    return this.#notes
  }

  /** @throws `ERR_JOURNAL` */
  async add(of: string, note: unknown): Promise<number> {
    const id = ++this.#count
    await this.append({ id, of, note })
    return id
  }

  /** Resolves when it is on disk. @throws `ERR_JOURNAL` */
  async append(entry: Entry): Promise<void> {
    this.#pending += lineOf(entry)
    await (this.#next ??= this.#writeNext())
    apply(this.#notes, entry)
  }

  async close(): Promise<void> {
    await this.#next?.catch(() => {})
    await this.#writing?.catch(() => {})
    await this.#handle.close()
  }

  async #writeNext(): Promise<void> {
    await this.#writing?.catch(() => {})
    const text = this.#pending
    this.#pending = ''
    this.#next = undefined
    await (this.#writing = this.#write(text))
  }

  /** A write that fails in the middle (the disk is full) must not leave half a line for the next to go on with. */
  async #write(text: string): Promise<void> {
    try {
      await this.#handle.appendFile(text)
      await this.#handle.datasync()
      this.#size += Buffer.byteLength(text)
    } catch (error) {
      await this.#handle.truncate(this.#size).catch(() => {})
      throw unwritable(this.path, error)
    }
  }
}

/** What was found in the file of an ended process. */
export interface Found {
  readonly notes: ReadonlyMap<number, Note>
  /** What could not be read, in words; absent when all could. */
  readonly problem?: string
}

/**
 * Reads what an ended process has left, under the folder's lock. A last line without its end was being written at the
 * death: whoever left it was not told that it is there, so it is cut off. Anything else that cannot be read is set aside
 * with the file, and what could be read goes on without it. Absent: there is no such file any more.
 *
 * @throws `ERR_JOURNAL`
 */
export async function readNotes(path: string, aside: string): Promise<Found | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    return { notes: new Map(), problem: await setAside(path, aside, describeError(error)) }
  }
  const { notes, bad, torn } = parse(text)
  if (bad.length > 0) {
    // The same file under another name: the rewriting makes a new one
    await link(path, aside).catch((error: unknown) => {
      throw unwritable(aside, error)
    })
    await rewrite(path, notes)
    return { notes, problem: `line ${bad.join(', ')}` }
  }
  if (torn) await rewrite(path, notes)
  return { notes }
}

/** Adds to the file of an ended process, under the folder's lock. @throws `ERR_JOURNAL` */
export async function appendTo(path: string, entry: Entry): Promise<void> {
  try {
    await writeFile(path, lineOf(entry), { flag: 'a', flush: true })
  } catch (error) {
    throw unwritable(path, error)
  }
}

async function setAside(path: string, aside: string, found: string): Promise<string> {
  try {
    await rename(path, aside)
  } catch (error) {
    throw unwritable(path, error)
  }
  return found
}

/** What is left of them, in the place of the whole file: all of it, or the old one, whenever this process dies. */
async function rewrite(path: string, notes: ReadonlyMap<number, Note>): Promise<void> {
  const lines = [...notes.values()].flatMap(({ id, resource: of, value: note, attempts }) => [
    lineOf({ id, of, note }),
    ...Array.from({ length: attempts }, () => lineOf({ tried: id })),
  ])
  const other = `${path}.new`
  try {
    await writeFile(other, lines.join(''), { mode: 0o600, flush: true })
    await rename(other, path)
    await syncFolder(dirname(path))
  } catch (error) {
    throw unwritable(path, error)
  }
}

/** A new name is on disk once its folder is. Windows has no such thing. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

interface Parsed {
  readonly notes: Map<number, Note>
  /** Numbers of the lines that cannot be read. */
  readonly bad: readonly number[]
  /** Is there a beginning of a line at the end? */
  readonly torn: boolean
}

function parse(text: string): Parsed {
  const lines = text.split('\n')
  const torn = lines.pop() !== ''
  const notes = new Map<number, Note>()
  const bad: number[] = []
  for (const [index, line] of lines.entries()) {
    const entry = entryOf(line)
    if (entry) apply(notes, entry)
    else bad.push(index + 1)
  }
  return { notes, bad, torn }
}

/** The checksum is for what JSON does not see: a path with another letter in it would be settled. */
function lineOf(entry: Entry): string {
  const json = JSON.stringify(entry)
  return `${sumOf(json)} ${json}\n`
}

function entryOf(line: string): Entry | undefined {
  const json = line.slice(9)
  if (line.slice(0, 9) !== `${sumOf(json)} `) return undefined
  try {
    const entry = JSON.parse(json) as Entry
    // One of a later release that this one does not know
    return 'note' in entry || 'tried' in entry || 'struck' in entry ? entry : undefined
  } catch {
    return undefined
  }
}

function sumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0')
}

function apply(notes: Map<number, Note>, entry: Entry): void {
  if ('note' in entry) {
    const { id, of: resource, note: value } = entry
    notes.set(id, { id, resource, value, attempts: 0 })
  } else if ('tried' in entry) {
    const note = notes.get(entry.tried)
    if (note) notes.set(note.id, { ...note, attempts: note.attempts + 1 })
  } else {
    for (const id of entry.struck) notes.delete(id)
  }
}

/** The error of a folder or file that notes cannot be kept in. */
export function unwritable(path: string, cause: unknown): StewardError {
  return new StewardError(
    'ERR_JOURNAL',
    `Cannot keep notes in "${path}": ${describeError(cause)}; give a folder that can be written and outlives the process, --state <folder>`,
    { cause },
  )
}

import { rmSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import type { DatabaseSync } from 'node:sqlite'
import { describeError, StewardError } from '../base/errors.ts'
import type { World } from '../base/world.ts'

/**
 * A lock that ends with its process, however that ends: an empty SQLite file on which a transaction is open. The system
 * drops it at the death of the process, so it needs no process id, which others may get, and no heartbeat.
 *
 * Nothing else may open the file: on POSIX systems a process loses its locks on a file as soon as it closes any descriptor
 * of it. SQLite knows that and keeps its own descriptors apart, also those of several locks in one process.
 */
export class Lock implements Disposable {
  readonly path: string
  readonly #database: DatabaseSync

  private constructor(path: string, database: DatabaseSync) {
    this.path = path
    this.#database = database
    held.add(this)
  }

  /** Takes it, unless somebody has it: another process, or another lock of this one. @throws `ERR_JOURNAL` when there can be none */
  static async tryTake(path: string): Promise<Lock | undefined> {
    const { DatabaseSync: Database } = await import('node:sqlite')
    let database: DatabaseSync | undefined
    try {
      database = new Database(path, { timeout: 0 })
      database.exec('BEGIN EXCLUSIVE')
      return new Lock(path, database)
    } catch (error) {
      database?.close()
      if (isBusy(error)) return undefined
      throw unlockable(path, error)
    }
  }

  /** Takes it, as soon as nobody has it. @throws `ERR_JOURNAL`, the signal's reason */
  static async take(path: string, { world, signal }: Patience): Promise<Lock> {
    for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
      signal?.throwIfAborted()
      const lock = await Lock.tryTake(path)
      if (lock) return lock
      await new Promise<void>(
        (resolve) => void world.timer(pause * (0.5 + world.random()), resolve),
      )
    }
  }

  /** Lets it go; the file stays. */
  [Symbol.dispose](): void {
    if (held.delete(this)) this.#database.close()
  }

  /** Lets it go, and its file: only where nobody else can be about to take it. */
  remove(): void {
    this[Symbol.dispose]()
    rmSync(this.path, { force: true })
  }
}

/** Held until they are let go: a database that is garbage-collected closes, and its lock would be gone. */
const held = new Set<Lock>()

interface Patience {
  readonly world: World
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined
}

/** SQLITE_BUSY, with what else is in its extended codes. */
function isBusy(error: unknown): boolean {
  return (((error as { errcode?: number }).errcode ?? 0) & 0xff) === 5
}

function unlockable(path: string, cause: unknown): StewardError {
  return new StewardError(
    'ERR_JOURNAL',
    `Cannot lock "${path}": ${describeError(cause)}; give a folder on a local disk that can be written, --state <folder>`,
    { cause },
  )
}

/**
 * Refuses a folder in which a lock would not end with its process, or not be seen by everybody. Where the system does not
 * say what it is (anything but Linux), all are taken.
 *
 * @throws `ERR_JOURNAL`
 */
export async function checkLocal(folder: string): Promise<void> {
  if (process.platform !== 'linux') return
  const { type } = await statfs(folder)
  const network = NETWORKS[type >>> 0]
  if (network === undefined) return
  throw new StewardError(
    'ERR_JOURNAL',
    `Cannot keep notes in "${folder}": it is on ${network}, a network file system, where a lock does not surely end with its process; give a folder on a local disk, --state <folder>`,
  )
}

/** Of statfs(2). */
const NETWORKS: Record<number, string> = {
  0x6969: 'NFS',
  0x517b: 'SMB',
  0xfe534d42: 'SMB',
  0xff534d42: 'CIFS',
  0x5346414f: 'AFS',
  0x6b414653: 'AFS',
  0x73757245: 'Coda',
  0x00c36400: 'Ceph',
  0x0bd00bd0: 'Lustre',
  0x01161970: 'GFS2',
  0x7461636f: 'OCFS2',
  0x47504653: 'GPFS',
}

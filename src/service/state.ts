import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import type { World } from '../base/world.ts'
import type { Journal, Settle } from '../scope/journal.ts'
import type { Root } from '../scope/scope.ts'
import type { FileJournal } from './journal.ts'

/**
 * Where the state of a program is kept when nobody says where: what systemd gives it (`StateDirectory=`), else a folder of
 * its own under the user's, by the path of its module.
 */
export function stateFolderFor(module: string, env: NodeJS.ProcessEnv): string {
  const { STATE_DIRECTORY, XDG_STATE_HOME } = env
  const [given] = (STATE_DIRECTORY ?? '').split(':')
  if (given) return given
  const home = XDG_STATE_HOME?.startsWith('/') ? XDG_STATE_HOME : join(homeFolder(), '.local/state')
  const path = resolve(module)
  const hash = createHash('sha256').update(path).digest('hex').slice(0, 12)
  return join(home, 'steward', `${basename(path)}-${hash}`)
}

/** A user without one has at least the root, which says why when it cannot be written. */
function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return '/'
  }
}

/** The journal of a service, made when a resource first asks for it: whoever leaves no notes touches no disk and loads nothing. */
export class KeptJournal implements Journal {
  readonly #folder: string
  readonly #root: Pick<Root, 'emit' | 'world'>
  #made: Promise<FileJournal> | undefined

  /** `state`: where the state of several services may be kept; `name`: that of this one. */
  constructor(state: string, name: string, root: Pick<Root, 'emit' | 'world'>) {
    this.#folder = join(resolve(state), folderOf(name))
    this.#root = root
  }

  async note(resource: string, value: unknown): Promise<number> {
    return (await this.#journal()).note(resource, value)
  }

  async strike(notes: readonly number[]): Promise<void> {
    await (await this.#journal()).strike(notes)
  }

  async settle(resource: string, recover: Settle, signal: AbortSignal): Promise<void> {
    await (await this.#journal()).settle(resource, recover, signal)
  }

  /** Of which resources ended processes have left notes. @throws `ERR_JOURNAL` */
  async waiting(): Promise<Set<string>> {
    return (await this.#journal()).waiting()
  }

  /** Ends it, after every resource has closed. */
  async close(): Promise<void> {
    await (await this.#made)?.close()
  }

  #journal(): Promise<FileJournal> {
    return (this.#made ??= this.#make())
  }

  async #make(): Promise<FileJournal> {
    const { FileJournal: Made } = await import('./journal.ts')
    return new Made({ ...this.#root, folder: this.#folder })
  }
}

/** A name as that of a folder, another one for each. */
function folderOf(name: string): string {
  return encodeURIComponent(name).replaceAll('.', '%2E') || '%'
}

/**
 * Do notes of ended processes wait in that folder (which `journal.opened` tells of)? Loads nothing of the app and settles
 * nothing. Those of a resource that cannot settle them wait on and on: ask once for each process that has ended.
 *
 * @throws `ERR_JOURNAL`
 */
export async function notesWait(folder: string, world: World): Promise<boolean> {
  const { FileJournal: Made } = await import('./journal.ts')
  return (await new Made({ folder, emit: () => {}, world }).waiting()).size > 0
}

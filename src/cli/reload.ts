import { statSync } from 'node:fs'
import { relative, resolve, sep } from 'node:path'
import { describeError, StewardError } from '../base/errors.ts'
import type { Emit, ServiceEvent } from '../base/events.ts'
import { realWorld, type Release } from '../base/world.ts'
import type { Failure, FromWorker } from '../supervisor/messages.ts'
import { Reloads, type Reloadable } from '../supervisor/reloads.ts'
import { Watched } from '../supervisor/watched.ts'
import type { Child } from '../supervisor/worker.ts'
import { listenToKeys } from './keys.ts'

/** The options of reloading, as they were given. */
export interface ReloadOptions {
  reload?: boolean
  reloadDir?: readonly string[]
  reloadInclude?: readonly string[]
  reloadExclude?: readonly string[]
  envFile?: string
}

/** Files that somebody looks at. */
interface Watching {
  add(file: string): void
  remove(file: string): void
  close(): void
}

/** The development of a service: its files are watched, and its supervisor reloads it when they change. */
export class Reloading {
  readonly #folder = process.cwd()
  readonly #watched: Watched
  readonly #folders: readonly string[]
  readonly #envFile: string | undefined
  #reloads: Reloads | undefined
  #watching: Watching | undefined
  /** Why the last worker has failed. */
  #failure: Failure | undefined

  /** @throws `ERR_BAD_OPTION` for a folder that is none */
  constructor({ reloadDir, reloadInclude, reloadExclude = [], envFile }: ReloadOptions) {
    const include = reloadInclude ?? (reloadDir ? ['*'] : [])
    this.#folders = include.length > 0 ? (reloadDir ?? ['.']).map(folderOf) : []
    this.#envFile = envFile === undefined ? undefined : resolve(envFile)
    this.#watched = new Watched({
      base: this.#folder,
      folders: this.#folders,
      include,
      exclude: reloadExclude,
      files: this.#envFile === undefined ? [] : [this.#envFile],
    })
  }

  /** Why no worker runs, if that was told. */
  get failure(): Failure | undefined {
    return this.#failure
  }

  /** Listens to a worker that has been spawned. */
  take(child: Child, generation: number): void {
    this.#failure = undefined
    child.onMessage((message) => this.#hear(message, generation))
  }

  /** Takes what the supervisor tells: a worker that was killed has said nothing itself. */
  readonly follow = (event: ServiceEvent): void => {
    if (event.type !== 'worker.gone' || event.cause === '') return
    const message = `The worker (process ${event.pid}) is gone: ${event.cause}`
    this.#failure ??= { message, text: message }
  }

  /** Begins to watch, and to listen to the keyboard where there is one; until released. */
  async open(target: Reloadable, emit: Emit): Promise<Release> {
    const nameOf = (file: string): string => this.#nameOf(file)
    const hasChanged = (file: string): boolean => this.#watched.hasChanged(file)
    const reloads = new Reloads({ world: realWorld, target, hasChanged, nameOf })
    this.#reloads = reloads
    this.#watching = await this.#watch(reloads, emit)
    const releaseKeys = takeKeys(target)
    return () => {
      releaseKeys()
      reloads.end()
      this.#watching?.close()
    }
  }

  /** Only with it is the watcher loaded. */
  async #watch(reloads: Reloads, emit: Emit): Promise<Watching> {
    const { watch } = await import('chokidar')
    const files = this.#envFile === undefined ? [] : [this.#envFile]
    const watcher = watch([...this.#folders, ...files], {
      ignored: (path, stats) => this.#watched.ignores(path, stats?.isFile() ?? false),
    })
    let isReady = false
    watcher.once('ready', () => (isReady = true))
    watcher.on('all', (event, path) => {
      if (event === 'addDir' || event === 'unlinkDir') return
      // What is there from the beginning was not loaded by anybody who tells of it
      if (!isReady && event === 'add') this.#watched.see(path)
      else reloads.touched(path)
    })
    watcher.on('error', (error) => emit({ type: 'warning', message: cannotWatch(error) }))
    return {
      add: (file) => void watcher.add(file),
      remove: (file) => void watcher.unwatch(file),
      close: () => void watcher.close(),
    }
  }

  #hear(message: FromWorker, generation: number): void {
    if (message.t === 'loads') this.#loads(message, generation)
    if (message.t === 'failed' || message.t === 'dying') this.#failure = message.failure
    if (message.t === 'ready') {
      for (const file of this.#watched.isReady(generation)) this.#watching?.remove(file)
    }
  }

  #loads({ file, digest }: { file: string; digest: string }, generation: number): void {
    const what = this.#watched.loads(file, { digest, generation })
    if (what === 'new') this.#watching?.add(file)
    if (what === 'outdated') this.#reloads?.isOutdated(file)
  }

  #nameOf(file: string): string {
    const path = relative(this.#folder, file)
    return path.startsWith(`..${sep}`) ? file : path
  }
}

function folderOf(given: string): string {
  const folder = resolve(given)
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return folder
  const message = `Cannot watch --reload-dir "${given}": there is no such folder; give one that exists`
  throw new StewardError('ERR_BAD_OPTION', message)
}

function cannotWatch(error: unknown): string {
  const { code } = error as { code?: string }
  const advice =
    code === 'ENOSPC' || code === 'EMFILE'
      ? 'the system watches no more: raise fs.inotify.max_user_watches, or set CHOKIDAR_USEPOLLING=1'
      : describeError(error)
  return `Cannot watch everything that was loaded: ${advice}`
}

const HELP = `
  r   reload now
  q   quit
  h   show this
`

/** On a terminal, single keys are commands. */
function takeKeys(target: Reloadable): Release {
  if (!process.stdin.isTTY || !process.stdout.isTTY) return () => {}
  const help = (): void => void process.stdout.write(`${HELP}\n`)
  return listenToKeys(process.stdin, {
    r: () => target.restart('reload asked for'),
    q: () => process.kill(process.pid, 'SIGINT'),
    h: help,
    '?': help,
  })
}

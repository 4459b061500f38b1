import { hash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { basename, isAbsolute, matchesGlob, relative, sep } from 'node:path'

/** Above this size, in bytes, size and time stand for what is in a file. */
const LARGE = 4_000_000

/** What is in a file, in few characters; empty when there is none. */
export function digestOf(file: string): string {
  try {
    const { size, mtimeMs } = statSync(file)
    return size > LARGE ? `${size} ${mtimeMs}` : hash('sha1', readFileSync(file))
  } catch {
    // Not there, or no file: what else is wrong with it will be said by whoever loads it
    return ''
  }
}

/** Which files are watched beside those that were loaded. All paths are absolute. */
export interface WatchedOptions {
  /** What relative globs to exclude begin at, beside the folders. */
  readonly base: string
  /** Where files are looked for that match `include`. */
  readonly folders: readonly string[]
  readonly include: readonly string[]
  readonly exclude: readonly string[]
  /** These, wherever they are. */
  readonly files: readonly string[]
}

interface Known {
  digest: string
  generation: number
}

/** Folders in which nobody writes by hand. */
const NOT_BY_HAND = new Set(['node_modules', '.git'])

/** What is watched, and what was in it when it was loaded: touching a file changes nothing. */
export class Watched {
  readonly #options: WatchedOptions
  readonly #known = new Map<string, Known>()

  constructor(options: WatchedOptions) {
    this.#options = options
    for (const file of options.files) this.see(file)
  }

  /**
   * A worker loads a file. Gives what that means: it is to be watched from now on; or it was watched; or another worker of the same
   * generation has loaded something else.
   */
  loads(file: string, { digest, generation }: Known): 'new' | 'watched' | 'outdated' | 'ignored' {
    if (isInside(file, NOT_BY_HAND) || this.#isExcluded(file)) return 'ignored'
    const known = this.#known.get(file)
    this.#known.set(file, { digest, generation })
    if (!known) return 'new'
    return known.generation === generation && known.digest !== digest ? 'outdated' : 'watched'
  }

  /** A file is there from the beginning. */
  see(file: string): void {
    if (!this.#known.has(file)) this.#known.set(file, { digest: digestOf(file), generation: 0 })
  }

  /**
   * A generation has become ready: what none of it has loaded is not looked at any more. Gives these files. Until then they may be what
   * its start fails for want of.
   */
  isReady(generation: number): string[] {
    const files = [...this.#known].filter(([, { generation: of }]) => of > 0 && of < generation)
    for (const [file] of files) this.#known.delete(file)
    return files.map(([file]) => file).filter((file) => this.ignores(file, true))
  }

  /** Is there something else in it than what was seen of it last? */
  hasChanged(file: string): boolean {
    if (this.ignores(file, true)) return false
    const digest = digestOf(file)
    const known = this.#known.get(file) ?? { digest: '', generation: 0 }
    if (known.digest === digest) return false
    this.#known.set(file, { ...known, digest })
    return true
  }

  /** Is there no reason to look at this path, and into it if it is a folder? */
  ignores(path: string, isFile: boolean): boolean {
    if (this.#known.has(path) || this.#options.folders.includes(path)) return false
    const isBelow = this.#options.folders.some((folder) => isWithin(path, folder))
    if (!isBelow || isInside(path, NOT_BY_HAND) || this.#isExcluded(path)) return true
    return isFile && !this.#isIncluded(path)
  }

  #isIncluded(path: string): boolean {
    const { folders, include } = this.#options
    const paths = folders.filter((folder) => isWithin(path, folder)).map((folder) => relative(folder, path)) // oxfmt-ignore
    return include.some((glob) =>
      glob.includes('/')
        ? paths.some((one) => matchesGlob(one, withoutDot(glob))) || matchesGlob(path, glob)
        : matchesGlob(basename(path), glob),
    )
  }

  /** Itself, or a folder that it is in. */
  #isExcluded(path: string): boolean {
    const { base, folders, exclude } = this.#options
    if (exclude.length === 0) return false
    return exclude.some((given) => {
      const glob = withoutDot(given).replace(/\/$/, '')
      if (isAbsolute(glob)) return parentsOf(path).some((one) => matchesGlob(one, glob))
      const within = [base, ...folders].filter((folder) => isWithin(path, folder))
      const paths = within.flatMap((folder) => parentsOf(relative(folder, path)))
      return paths.some((one) => matchesGlob(glob.includes('/') ? one : basename(one), glob))
    })
  }
}

function withoutDot(glob: string): string {
  return glob.replace(/^\.\//, '')
}

function isWithin(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}

function isInside(path: string, names: ReadonlySet<string>): boolean {
  return path.split(sep).some((part) => names.has(part))
}

/** `a`, `a/b`, `a/b/c`. */
function parentsOf(path: string): string[] {
  const parts = path.split(sep)
  return parts.map((_, index) => parts.slice(0, index + 1).join(sep)).filter((one) => one !== '')
}

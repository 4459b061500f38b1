import { registerHooks } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { digestOf } from '../supervisor/watched.ts'

/** Takes a file that is about to be loaded, and the digest of what is in it. */
type Loads = (file: string, digest: string) => void

/** Folders whose files are installed, not written. */
const INSTALLED = /[\\/]node_modules[\\/]/

/**
 * Tells of every file that is imported or required from now on, before it is read: also of one that cannot be parsed, and of one that
 * is not there. To the end of the process.
 */
export function tellLoadedFiles(loads: Loads): void {
  const told = new Set<string>()
  const tell = (file: string): void => {
    if (told.has(file) || INSTALLED.test(file)) return
    told.add(file)
    loads(file, digestOf(file))
  }
  // Without a hook for loading: every file is resolved first, and Node reads it as it always does
  registerHooks({
    resolve(specifier, context, nextResolve) {
      try {
        const resolved = nextResolve(specifier, context)
        if (resolved.url.startsWith('file:')) tell(pathOf(resolved.url))
        return resolved
      } catch (error) {
        for (const file of missing(specifier, context.parentURL, error)) tell(file)
        throw error
      }
    },
  })
}

/** Where what was not found may appear. */
function missing(specifier: string, parent: string | undefined, error: unknown): string[] {
  const { url } = (error ?? {}) as { url?: unknown }
  if (typeof url === 'string' && url.startsWith('file:')) return [pathOf(url)]
  if (parent?.startsWith('file:') && /^\.{0,2}\//.test(specifier)) {
    const path = resolve(dirname(pathOf(parent)), specifier)
    return [path, `${path}.js`, `${path}.json`]
  }
  // A package: it is there when it was installed
  return [join(process.cwd(), 'package.json')]
}

/** Without the query by which a module is loaded anew. */
function pathOf(url: string): string {
  return fileURLToPath(url.replace(/[?#].*$/s, ''))
}

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The repository's folder. */
export const root = join(import.meta.dirname, '..', '..')

/** The paths under the repository that match, relative to it, with forward slashes, sorted. */
export function list(...patterns: string[]): string[] {
  const exclude = ['**/node_modules/**', 'dist/**', '.cache/**']
  const paths = globSync(patterns, { cwd: root, exclude })
  return paths.map((path) => path.replaceAll('\\', '/')).toSorted()
}

/** The text of a file of the repository. */
export function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** The number, from 1, of the line on which `index` is. */
export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length
}

import { spawnSync } from 'node:child_process'
import { join, relative, resolve } from 'node:path'
import { root } from './repository.ts'

/** What a compiler says about one place. */
export interface Diagnostic {
  /** Relative to the repository. */
  file: string
  line: number
  /** The whole message, its indented continuation lines included. */
  message: string
}

/** The compilers that users have, each with its program. */
export const compilers = {
  'TypeScript 7': 'node_modules/typescript/bin/tsc',
  'TypeScript 5.9': 'node_modules/typescript-5.9/lib/tsc.js',
} as const

/**
 * Compiles a project, which emits nothing, and returns what is wrong with it.
 *
 * @throws when the compiler fails in a way that is no diagnostic: a crash, a bad configuration
 */
export function compile(project: string, compiler: keyof typeof compilers): Diagnostic[] {
  const args = [join(root, compilers[compiler]), '-p', join(root, project), '--pretty', 'false']
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
  })
  const diagnostics = parse(stdout)
  if (status !== 0 && diagnostics.length === 0) {
    throw new Error(`Cannot compile "${project}" with ${compiler}:\n${stdout}${stderr}`)
  }
  return diagnostics
}

/** Reads `file(line,column): error TS1234: message`, and what is indented below it. */
export function parse(output: string): Diagnostic[] {
  const found: Diagnostic[] = []
  for (const text of output.split('\n')) {
    const start = /^(\S.*?)\((\d+),\d+\): error (TS\d+: .*)$/.exec(text)
    const last = found.at(-1)
    if (start) {
      const file = relative(root, resolve(root, start[1]!)).replaceAll('\\', '/')
      found.push({ file, line: Number(start[2]), message: start[3]! })
    } else if (/^error TS\d+: /.test(text)) {
      throw new Error(`Cannot compile: ${text}`)
    } else if (last && /^\s+\S/.test(text)) {
      last.message += `\n${text}`
    }
  }
  return found
}

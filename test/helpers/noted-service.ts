import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { MAIN, Program } from './program.ts'
import { root } from './repository.ts'

/** `steward serve` of test/programs/noted-service.ts, with all that it writes in one folder. */
export function serveNoted(
  folder: string,
  workers: number,
  env: Record<string, string> = {},
): Program {
  const path = join(root, 'test/programs/noted-service.ts')
  const args = ['--port', '0', '--workers', String(workers), '--state', join(folder, 'state')]
  return new Program([MAIN, 'serve', path, '--no-control', ...args], {
    env: { ...env, FOLDER: folder },
  })
}

/** What is taken and not given back. */
export function taken(folder: string): string[] {
  const things = join(folder, 'things')
  const lock = existsSync(join(folder, 'lock')) ? ['lock'] : []
  return [...(existsSync(things) ? readdirSync(things) : []), ...lock]
}

/** Every process that it has started, as far as it has told. */
export function processesOf(program: Program): number[] {
  const events = new Set(['worker.starting', 'settling.started'])
  return program.lines.filter(({ event }) => events.has(event)).map(({ pid }) => Number(pid))
}

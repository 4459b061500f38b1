import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { describeError, StewardError } from '../base/errors.ts'

/** Writes the pid file, which goes with the process if it is still ours. @throws `ERR_BAD_OPTION` when another process has it */
export function writePid(file: string): void {
  const other = pidIn(file)
  if (other !== process.pid && isAlive(other)) {
    throw badPid(file, `process ${other} runs and has it; stop it, or name another file`)
  }
  try {
    writeFileSync(file, `${process.pid}\n`)
  } catch (cause) {
    throw badPid(file, `${describeError(cause)}; name a file that can be written`, cause)
  }
  // However it ends: also by a signal that comes before there is anything to stop
  process.once('exit', () => removePid(file))
}

function removePid(file: string): void {
  try {
    if (pidIn(file) === process.pid) rmSync(file)
  } catch {
    // The next start takes the place of one that is dead
  }
}

function pidIn(file: string): number {
  const isFile = statSync(file, { throwIfNoEntry: false })?.isFile() ?? false
  return isFile ? Number(readFileSync(file, 'utf8').trim()) : Number.NaN
}

function badPid(file: string, found: string, cause?: unknown): StewardError {
  const details = cause === undefined ? {} : { cause }
  return new StewardError(
    'ERR_BAD_OPTION',
    `Cannot write the pid file "${file}": ${found}`,
    details,
  )
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM'
  }
}

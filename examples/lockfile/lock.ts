import { readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { perApp } from 'steward'

/** Taken before anything is served, given back when everything is over: only one process at a time does this work. */
export const lock = perApp(
  async function* () {
    const path = process.env.LOCK_FILE ?? join(tmpdir(), 'steward-example.lock')
    await take(path)
    yield path
    await rm(path)
  },
  { exclusive: true },
)

async function take(path: string): Promise<void> {
  try {
    await writeFile(path, `${process.pid}\n`, { flag: 'wx' }) // fails when the file is there already
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    throw new Error(`Cannot take ${path}: ${await holderOf(path)}`, { cause: error })
  }
}

async function holderOf(path: string): Promise<string> {
  const pid = Number(await readFile(path, 'utf8').catch(() => ''))
  if (pid === 0) return 'another process is taking it or giving it back just now, try again'
  if (isAlive(pid)) return `process ${pid} holds it, stop that one first`
  return `process ${pid} held it and died without giving it back, remove the file`
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' // it lives, and belongs to somebody else
  }
}

import { randomUUID } from 'node:crypto'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { perApp } from 'steward'
import { z } from 'zod'

/** Taken before anything is served, given back when everything is over: only one process at a time does this work. */
export const lock = perApp(
  async function* ({ journal }) {
    const path = process.env.LOCK_FILE ?? join(tmpdir(), 'steward-example.lock')
    const token = randomUUID()
    await journal.note({ path, token }) // on disk before the file is: whatever happens now, it is given back
    await take(path, token)
    yield path
    await giveBack(path, token)
  },
  {
    name: 'lock',
    exclusive: true,
    note: z.object({ path: z.string(), token: z.string() }),
    recover: ({ path, token }) => giveBack(path, token), // what a killed process could not do
  },
)

async function take(path: string, token: string): Promise<void> {
  try {
    await writeFile(path, `${process.pid} ${token}\n`, { flag: 'wx' }) // fails when the file is there already
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const [pid] = await contentOf(path)
    const found = pid ? `process ${pid} holds it` : 'another process is taking it just now'
    throw new Error(`Cannot take ${path}: ${found}, stop that one first`, { cause: error })
  }
}

/** Only what is ours: by now the file may be somebody else's. */
async function giveBack(path: string, token: string): Promise<void> {
  const [, found] = await contentOf(path)
  if (found === token) await rm(path)
}

async function contentOf(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.trim().split(' ')
}

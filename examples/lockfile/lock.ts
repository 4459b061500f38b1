import { randomUUID } from 'node:crypto'
import { link, readFile, rm, writeFile } from 'node:fs/promises'
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

/** It is written before it has its name: a kill in between leaves no lock without an owner. */
async function take(path: string, token: string): Promise<void> {
  const own = `${path}.${token}`
  await writeFile(own, `${process.pid} ${token}\n`)
  try {
    await link(own, path) // fails when the file is there already
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const [pid] = await contentOf(path)
    const found = pid ? `process ${pid} holds it` : 'another process is giving it back just now'
    throw new Error(`Cannot take ${path}: ${found}, stop that one first`, { cause: error })
  } finally {
    await rm(own)
  }
}

/** Only what is ours: by now the file may be somebody else's. */
async function giveBack(path: string, token: string): Promise<void> {
  await rm(`${path}.${token}`, { force: true })
  const [, found] = await contentOf(path)
  if (found === token) await rm(path)
}

async function contentOf(path: string): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.trim().split(' ')
}

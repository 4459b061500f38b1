import { appendFileSync, existsSync, writeFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { perApp, service } from '../../src/index.ts'
import { pause } from '../helpers/pause.ts'
import { tell } from './tell.ts'

// A service that prepares, and that holds what only one process may hold, where it is told to. What happens is appended to a ledger.

const { FOLDER = '', PREPARE = '', EXCLUSIVE = '' } = process.env
const pid = process.pid

function note(what: string): void {
  appendFileSync(join(FOLDER, 'ledger'), `${what} ${pid}\n`)
}

const pool = perApp(
  async function* () {
    note('pool opens')
    yield 'pool'
    note('pool closes')
  },
  { name: 'pool' },
)

/** A lock file that nobody waits for: whoever finds it fails. */
const lock = perApp(
  async function* () {
    const path = join(FOLDER, 'lock')
    writeFileSync(path, String(pid), { flag: 'wx' })
    note('lock taken')
    yield path
    // Time in which a successor that did not wait would fail
    await pause(150)
    rmSync(path)
    note('lock released')
  },
  { name: 'lock', exclusive: true },
)

const ways: Record<string, (signal: AbortSignal) => unknown> = {
  fails: () => {
    throw new Error('migration 7')
  },
  failsLater: () => {
    if (existsSync(join(FOLDER, 'broken'))) throw new Error('migration 8')
  },
  waitsLater: async () => {
    if (existsSync(join(FOLDER, 'closed'))) tell('app.preparing', { pid })
    while (existsSync(join(FOLDER, 'closed'))) await pause(20)
  },
  hangs: () => {
    tell('app.preparing', { pid })
    return new Promise(() => {})
  },
  heeds: async (signal) => {
    tell('app.preparing', { pid })
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    signal.throwIfAborted()
  },
  exits: () => process.exit(0),
  throws: () => {
    setImmediate(() => {
      throw new Error('nobody caught this')
    })
    return new Promise(() => {})
  },
}

export default service({
  name: 'prepared',
  app: {
    async fetch(request: Request) {
      return new Response(await request.text(), { headers: { worker: String(pid) } })
    },
  },
  resources: EXCLUSIVE === '' ? { pool } : { pool, lock },
  ...(PREPARE === ''
    ? {}
    : {
        prepare: async (_: unknown, { signal }: { signal: AbortSignal }) => {
          note('prepares')
          await ways[PREPARE]?.(signal)
        },
      }),
})

// A service whose worker takes a thing and notes it, under a supervisor that is killed; with LOCK also the one lock that there is.
// What it does is appended to a ledger, each line in one write.
import {
  appendFileSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync,
} from 'node:fs' // oxfmt-ignore
import { join } from 'node:path'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { perApp, service } from '../../src/index.ts'
import { pause } from '../helpers/pause.ts'
import { tell as print } from './tell.ts'

const { FOLDER = '', LOCK = '', CLOSE = '', RECOVER = '' } = process.env
const pid = process.pid
const things = join(FOLDER, 'things')
const lockFile = join(FOLDER, 'lock')
mkdirSync(things, { recursive: true })

function tell(what: string, token = ''): void {
  appendFileSync(join(FOLDER, 'ledger'), `${JSON.stringify({ what, token, pid })}\n`)
}

// Not Zod, which takes longer to load than all the rest
const schema: StandardSchemaV1<{ token: string }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) => ({ value: value as { token: string } }),
  },
}

/** With a `hang` in the folder, a `recover` does not end. */
async function recovering(token: string): Promise<void> {
  tell('recovering', token)
  print('app.recovering', { token, pid })
  if (RECOVER === 'hangs' && existsSync(join(FOLDER, 'hang'))) await new Promise(() => {})
  // Time to be killed in
  await pause(5)
}

const thing = perApp(
  async function* ({ journal }) {
    tell('opening', 'thing')
    const token = `${pid}-thing`
    await journal.note({ token })
    tell('noted', token)
    writeFileSync(join(things, token), '')
    yield token
    if (CLOSE === 'slow') {
      print('app.closing', { pid })
      await pause(10_000)
    }
    rmSync(join(things, token))
    tell('closed', token)
  },
  {
    name: 'thing',
    note: schema,
    async recover({ token }) {
      await recovering(token)
      rmSync(join(things, token), { force: true })
      tell('recovered', token)
    },
  },
)

const lock = perApp(
  async function* ({ journal }) {
    tell('opening', 'lock')
    const token = `${pid}-lock`
    await journal.note({ token })
    tell('noted', token)
    // Never without its owner, which a kill between its opening and its writing would leave
    writeFileSync(join(FOLDER, token), token)
    linkSync(join(FOLDER, token), lockFile)
    rmSync(join(FOLDER, token))
    yield token
    if (readFileSync(lockFile, 'utf8') !== token) tell('error: the lock is another one')
    rmSync(lockFile)
    tell('closed', token)
  },
  {
    name: 'lock',
    exclusive: true,
    note: schema,
    async recover({ token }) {
      await recovering(token)
      rmSync(join(FOLDER, token), { force: true })
      const held = existsSync(lockFile) ? readFileSync(lockFile, 'utf8') : ''
      if (held === token) rmSync(lockFile)
      tell('recovered', token)
    },
  },
)

tell('started')
export default service({
  name: 'noted',
  app: { fetch: () => new Response(String(pid)) },
  resources: LOCK === '' ? { thing } : { thing, lock },
  gracefulTimeout: '2s',
})

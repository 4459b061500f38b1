// Opens and closes a resource that takes a thing and notes it, again and again, until it is killed; with `once` a single time.
// What it does is appended to a ledger, each line in one write.
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { perApp, service, start } from '../../src/index.ts'

const [folder = '', times = 'forever'] = process.argv.slice(2)
const things = join(folder, 'things')
mkdirSync(things, { recursive: true })
let count = 0

function tell(what: string, token = ''): void {
  const line = JSON.stringify({ what, token, pid: process.pid })
  appendFileSync(join(folder, 'ledger'), `${line}\n`)
}

// Not Zod, which takes longer to load than all the rest
const validate = (value: unknown): { value: { token: string } } => ({
  value: value as { token: string },
})
const schema: StandardSchemaV1<{ token: string }> = {
  '~standard': { version: 1, vendor: 'test', validate },
}

function say(event: string): void {
  console.log(JSON.stringify({ event }))
}

const thing = perApp(
  async function* ({ journal }) {
    tell('opening')
    if (count === 0) say('opening')
    const token = `${process.pid}-${count++}`
    await journal.note({ token })
    tell('noted', token)
    writeFileSync(join(things, token), '')
    yield token
    rmSync(join(things, token))
    tell('closed', token)
  },
  {
    name: 'thing',
    note: schema,
    async recover({ token }) {
      tell('recovering', token)
      say('recovering')
      // Time to be killed in
      await new Promise((resolve) => setImmediate(resolve))
      rmSync(join(things, token), { force: true })
      tell('recovered', token)
    },
  },
)

tell('started')
say('started')
do {
  const running = await start(service({ name: 'noted', resources: { thing } }), {
    state: join(folder, 'state'),
    on: (event) => {
      if (event.type === 'warning') tell(`warning: ${event.message}`)
    },
  })
  const { errors } = await running.stop()
  for (const error of errors) tell(`error: ${String(error)}`)
} while (times === 'forever')

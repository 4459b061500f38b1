import { tell } from './tell.ts'

const handles = (): number =>
  (process as unknown as { _getActiveHandles(): unknown[] })._getActiveHandles().length
const listeners = (): number =>
  process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)
// Node makes them when they are first looked at, which its own modules do
void [process.stdout, process.stderr]
const before = { handles: handles(), listeners: listeners(), globals: Object.keys(globalThis) }

const steward = await import('../../src/index.ts')
await import('../../src/adapters/hono.ts')
await import('../../src/adapters/node.ts')
const db = steward.perApp(() => 'db')
steward.keyed((name: string) => steward.perApp(() => name))
steward.service({ app: { fetch: () => new Response('') }, resources: { db } })
steward.fake(db, 'other')

tell('found', {
  handles: handles() - before.handles,
  listeners: listeners() - before.listeners,
  globals: Object.keys(globalThis).filter((name) => !before.globals.includes(name)),
})

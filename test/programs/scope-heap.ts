/** Opens and closes request scopes, and prints by how many bytes the heap has grown. Needs --expose-gc. */
import { setImmediate as turn } from 'node:timers/promises'
import { open } from '../../src/scope/live.ts'
import { perApp, perHandler, perRequest } from '../../src/scope/resource.ts'

const pool = perApp(() => ({ open: true }))
const body = perRequest(() => new Uint8Array(1_000).fill(1))
const tx = perRequest({ pool, body }, async function* ({ pool, body }) {
  yield { pool, body }
})
const step = perHandler({ tx }, async ({ tx }, { use, opening }) => use({ tx, opening }))
const failing = perRequest({ tx }, () => Promise.reject(new Error('no')))

const app = await open({ pool })

async function requests(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await app.run({ step }, ({ step }) => step)
    await app.run({ failing }, () => 0).catch(() => {})
    await using scope = app.enter(perRequest)
    await scope.run({ tx }, ({ tx }) => tx)
  }
}

async function used(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await turn()
    globalThis.gc!()
  }
  return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
}

await requests(2_000)
const before = await used()
await requests(10_000)
console.log((await used()) - before)
await app.close()

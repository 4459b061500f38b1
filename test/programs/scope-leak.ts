/** Forgets scopes, and prints the warnings of leak mode. Needs --expose-gc. */
import { setImmediate as turn } from 'node:timers/promises'
import { open } from '../../src/scope/live.ts'
import { perRequest } from '../../src/scope/resource.ts'

const warnings: string[] = []
const app = await open(
  {},
  {
    leaks: true,
    on: (event) => {
      if (event.type === 'warning') warnings.push(event.message)
    },
  },
)

function forgetful(): void {
  app.enter(perRequest)
}

async function careful(): Promise<void> {
  await using _scope = app.enter(perRequest)
}

forgetful()
await careful()
for (let i = 0; i < 100 && warnings.length === 0; i++) {
  await turn()
  globalThis.gc!()
}
console.log(JSON.stringify(warnings))
await app.close()

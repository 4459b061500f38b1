import { existsSync } from 'node:fs'
import { setImmediate as immediate } from 'node:timers/promises'
import { service } from '../../src/index.ts'
import { tell } from './tell.ts'

// Blocks in the last step of its start until a file is there. From one immediate to the next the event loop looks once at what has come:
// a message that came meanwhile is heard before the step ends, and a signal that is sent because of it is not.

const { UNTIL = '' } = process.env
const still = new Int32Array(new SharedArrayBuffer(4))

export default service({
  app: { fetch: () => new Response('hello') },
  onStartup: async () => {
    await immediate()
    tell('app.blocking')
    while (!existsSync(UNTIL)) Atomics.wait(still, 0, 0, 10)
    await immediate()
  },
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { service } from '../../src/index.ts'
import { pause } from '../helpers/pause.ts'
import { tell } from './tell.ts'

/** The processes that have ended and that nobody has collected. */
function zombies(): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
    } catch {
      return false
    }
  })
}

/** Leaves a process behind, as programs do that start helpers of their own. */
async function leaveOrphan(): Promise<void> {
  await once(spawn('sh', ['-c', 'sleep 0.05 &'], { stdio: 'ignore' }), 'exit')
}

export default service({
  app: { fetch: () => new Response('hello') },
  async onStartup() {
    await leaveOrphan()
    await leaveOrphan()
    while (zombies().length < 2) await pause(5)
    tell('app.orphaned', { pid: process.pid })
  },
})

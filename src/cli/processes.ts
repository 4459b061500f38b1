import { spawn } from 'node:child_process'
import { WORKER_VARIABLE, type FromWorker, type WorkerPlace } from '../supervisor/messages.ts'
import type { Child } from '../supervisor/worker.ts'
import { withoutInspector } from './inspection.ts'

/** The first descriptor behind standard input and output and the channel. */
const FIRST = 4

/** A worker is the same command again, in a process group of its own, with the sockets behind its channel. */
export function spawnWorker(place: WorkerPlace): Child {
  const [, program = '', ...args] = process.argv
  const listen = place.listen.map(({ url }, index) => ({ url, fd: FIRST + index }))
  const inherited: WorkerPlace = { ...place, listen }
  const { execArgv, env } = withoutInspector(process)
  // What is loaded first belongs to the app
  const first = place.stub ? [] : execArgv
  // Or Node would read an --env-file of ours by itself, wherever it stands
  const child = spawn(process.execPath, [...first, '--', program, ...args], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...place.listen.map(({ fd }) => fd)],
    env: { ...env, [WORKER_VARIABLE]: JSON.stringify(inherited) },
  })
  const { pid } = child
  return {
    pid: pid ?? 0,
    send: (message) => void (child.connected && child.send(message, () => {})),
    kill: () => killGroup(pid),
    onMessage: (listener) => void child.on('message', (message) => listener(message as FromWorker)),
    onExit(listener) {
      child.on('error', (error) => {
        // Only without a process is that its end
        if (pid === undefined) listener({ code: 1, signal: null, error: error.message })
      })
      child.once('exit', (code, signal) => {
        // What it has spawned goes with it
        killGroup(pid)
        listener({ code, signal })
      })
    },
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left in it
  }
}

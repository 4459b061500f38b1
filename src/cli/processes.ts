import { spawn } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { realWorld } from '../base/world.ts'
import { WORKER_VARIABLE, type FromWorker, type WorkerPlace } from '../supervisor/messages.ts'
import type { Child } from '../supervisor/worker.ts'
import { withoutInspector } from './inspection.ts'
import { askWhereabouts, isTraced } from './whereabouts.ts'

/** The first descriptor behind standard input and output and the channel. */
const FIRST = 4

/** Has a worker a second thread, which can tell where the first one is? */
export interface Threads {
  readonly watchdog: boolean
}

/** A worker is the same command again, in a process group of its own, with the sockets behind its channel, and behind them a pipe to its second thread. */
export function spawnWorker(place: WorkerPlace, { watchdog }: Threads): Child {
  const [, program = '', ...args] = process.argv
  const listen = place.listen.map((socket, index) => ({ ...socket, fd: FIRST + index }))
  const questions = FIRST + listen.length
  const inherited: WorkerPlace = { ...place, listen, questions }
  const { execArgv, env } = withoutInspector(process)
  // What is loaded first belongs to the app
  const first = place.stub ? [] : execArgv
  // Or Node would read an --env-file of ours by itself, wherever it stands
  const child = spawn(process.execPath, [...first, '--', program, ...args], {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...place.listen.map(({ fd }) => fd), 'pipe'],
    env: { ...env, [WORKER_VARIABLE]: JSON.stringify(inherited) },
  })
  const { pid } = child
  const pipe = child.stdio[questions] as Duplex | undefined
  // A worker that has ended does not read
  pipe?.on('error', () => {})
  return {
    pid: pid ?? 0,
    whereabouts: async () =>
      watchdog && pipe && pid !== undefined
        ? askWhereabouts(pipe, { pid, world: realWorld })
        : { trouble: 'there is no thread that could tell (--no-watchdog)' },
    isTraced: () => pid !== undefined && isTraced(pid),
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

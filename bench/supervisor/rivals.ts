import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, Running, type RunningOptions } from './running.ts'

/** Workers that are kept running, all of them ready. They end with their scope. */
export interface Managed extends AsyncDisposable {
  readonly port: number
  /** The process that keeps them running. */
  readonly parent: number
  /** A rolling restart, from the order to its end. */
  roll(): Promise<void>
}

export interface Rival {
  readonly name: string
  /** As `--only` has it. */
  readonly id: string
  start(workers: number, options?: RunningOptions): Promise<Managed>
}

export const MAIN: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const PM2 = fileURLToPath(new URL('../node_modules/pm2/bin/pm2', import.meta.url))

export function programFile(name: string): string {
  return fileURLToPath(new URL(`programs/${name}`, import.meta.url))
}

export const STEWARD: Rival = { name: 'steward', id: 'steward', start: steward }

/** Gunicorn and Uvicorn would be here where they are installed; Watt's workers are threads, which no signal reaches. */
export const RIVALS: readonly Rival[] = [
  STEWARD,
  { name: 'node:cluster', id: 'cluster', start: (...args) => cluster('rr', ...args) },
  {
    name: 'node:cluster, SCHED_NONE',
    id: 'cluster-none',
    start: (...args) => cluster('none', ...args),
  },
  { name: 'PM2', id: 'pm2', start: pm2 },
]

async function steward(workers: number, options: RunningOptions = {}): Promise<Managed> {
  const port = await freePort()
  const args = ['serve', programFile('app.ts'), '--port', String(port), '--workers', `${workers}`]
  const program = new Running([process.execPath, MAIN, ...args, '--no-control'], options)
  await program.said('"event":"worker.ready"', workers)
  return managed(program, port, '"event":"roll.ended"')
}

async function cluster(
  policy: 'rr' | 'none',
  workers: number,
  options: RunningOptions = {},
): Promise<Managed> {
  const port = await freePort()
  const env = { PORT: String(port), NODE_CLUSTER_SCHED_POLICY: policy, ...options.env }
  const command = [process.execPath, programFile('cluster.ts'), String(workers)]
  const program = new Running(command, { ...options, env })
  await program.said('ready')
  return managed(program, port, 'rolled')
}

function managed(program: Running, port: number, rolled: string): Managed {
  let rolls = 0
  return {
    port,
    parent: program.pid,
    roll() {
      program.child.kill('SIGHUP')
      return program.said(rolled, ++rolls)
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  }
}

/** In its cluster mode, with a daemon of its own, as its pages "Cluster Mode" and "Graceful Shutdown" say. */
async function pm2(workers: number, options: RunningOptions = {}): Promise<Managed> {
  const port = await freePort()
  const home = mkdtempSync(join(tmpdir(), 'pm2-'))
  const env = { PM2_HOME: home, PM2_DISABLE_VERSION_CHECK: 'true', PORT: String(port) }
  const order = async (...args: string[]): Promise<void> => {
    const command = new Running([process.execPath, PM2, ...args], { ...options, env })
    await command.ended()
  }
  const patient = ['--wait-ready', '--listen-timeout', '10000', '--kill-timeout', '10000']
  const program = [programFile('plain.ts'), '--name', 'app', '-i', String(workers)]
  await order('start', ...program, '--interpreter', process.execPath, ...patient)
  return {
    port,
    parent: Number(readFileSync(join(home, 'pm2.pid'), 'utf8')),
    roll: () => order('reload', 'app'),
    async [Symbol.asyncDispose]() {
      await order('kill')
      rmSync(home, { recursive: true, force: true })
    },
  }
}

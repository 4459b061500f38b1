/**
 * node:cluster with what everybody writes around it: who dies is replaced, and SIGHUP is a rolling restart in which the new
 * worker listens before the old one closes. `node cluster.ts WORKERS`, with PORT.
 */
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'

const leaving = new Set<Worker>()

cluster.setupPrimary({ exec: new URL('plain.ts', import.meta.url).pathname, args: [] })
cluster.on('exit', (worker) => {
  if (!leaving.delete(worker)) cluster.fork()
})
for (let count = 0; count < Number(process.argv[2]); count++) {
  await once(cluster.fork(), 'listening')
}
process.stdout.write('ready\n')

process.on('SIGHUP', () => void roll())
process.on('SIGTERM', () => void stop())

async function roll(): Promise<void> {
  for (const worker of all()) {
    await once(cluster.fork(), 'listening')
    await leave(worker)
  }
  process.stdout.write('rolled\n')
}

async function stop(): Promise<void> {
  await Promise.all(all().map(leave))
  process.exit(0)
}

async function leave(worker: Worker): Promise<void> {
  leaving.add(worker)
  const exit = once(worker, 'exit')
  worker.send('shutdown')
  const late = setTimeout(() => worker.process.kill('SIGKILL'), 10_000)
  await exit
  clearTimeout(late)
}

function all(): Worker[] {
  return Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
}

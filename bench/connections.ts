/**
 * What idle connections cost, and how they end: `node bench/connections.ts [--connections 10000] [--trials 3]`. Each
 * server has a process of its own, and the clients are raw sockets that have been answered once.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { parseArgs } from 'node:util'
import { figure, type Figure } from './figures.ts'
import { described, machine } from './machine.ts'
import { line, type Requirement } from './requirement.ts'
import { table } from './table.ts'

const KINDS = ['bare', 'tracked', 'steward'] as const
const NAMES = { bare: 'node:http, bare', tracked: 'node:http, tracked', steward: 'steward' }

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '10000' },
    trials: { type: 'string', default: '3' },
  },
})
const CONNECTIONS = Number(values.connections)

interface Trial {
  /** Bytes of the server's heap for each connection. */
  readonly bytes: number
  /** From the signal to the end of the process, in milliseconds. */
  readonly exit: number
  /** Connections that were reset, in the place of being closed. */
  readonly resets: number
}

type Kind = (typeof KINDS)[number]

await main()

async function main(): Promise<void> {
  const trials: Record<Kind, Trial[]> = { bare: [], tracked: [], steward: [] }
  for (let trial = 0; trial < Number(values.trials); trial++) {
    for (const kind of KINDS) trials[kind].push(await measured(kind))
  }
  console.log(described(machine([])))
  console.log(`${CONNECTIONS} idle keep-alive connections, ${values.trials} trials\n`)
  const head = ['server', 'heap a connection', 'p10 to p90', 'signal to exit', 'resets']
  console.log(
    table(
      head,
      KINDS.map((kind) => row(kind, trials[kind])),
    ),
  )
  const tracking = figure(
    trials.tracked.map(({ bytes }, trial) => bytes - trials.bare[trial]!.bytes),
  )
  const exits = figure(trials.steward.map(({ exit }) => exit))
  const required: Requirement[] = [
    { says: 'tracking a connection takes less than 200 bytes', measured: tracking, atMost: 200 },
    {
      says: 'idle connections are gone within their window of 1 s, and as long again',
      measured: exits,
      atMost: 2_000,
    },
  ]
  console.log()
  for (const one of required) console.log(line(one, (value) => value.toFixed(0)))
}

function row(kind: Kind, trials: readonly Trial[]): string[] {
  const bytes = figure(trials.map((trial) => trial.bytes))
  const exit = figure(trials.map((trial) => trial.exit))
  const resets = trials.reduce((sum, trial) => sum + trial.resets, 0)
  return [
    NAMES[kind],
    `${bytes.median.toFixed(0)} B`,
    span(bytes),
    `${exit.median.toFixed(0)} ms`,
    `${resets}`,
  ]
}

function span({ p10, p90 }: Figure): string {
  return `${p10.toFixed(0)} to ${p90.toFixed(0)}`
}

async function measured(kind: Kind): Promise<Trial> {
  const file = new URL('./connections/server.ts', import.meta.url)
  const child = fork(file, [kind], { execArgv: ['--expose-gc'], silent: true })
  try {
    const [{ port }] = (await once(child, 'message')) as [{ port: number }]
    // What the first connections make once belongs to none of them
    const warm = await idle(port, 100)
    const before = await heap(child)
    const clients = await idle(port, CONNECTIONS)
    const after = await heap(child)
    let resets = 0
    for (const client of [...warm, ...clients]) client.on('error', () => resets++)
    const began = performance.now()
    child.kill('SIGTERM')
    await once(child, 'exit')
    const exit = performance.now() - began
    for (const client of [...warm, ...clients]) client.destroy()
    return { bytes: (after - before) / CONNECTIONS, exit, resets }
  } finally {
    child.kill('SIGKILL')
  }
}

async function heap(child: ChildProcess): Promise<number> {
  child.send('heap')
  const [{ heap }] = (await once(child, 'message')) as [{ heap: number }]
  return heap
}

/** Connections that have been answered once; a few at a time, so that the queue of the kernel holds them. */
async function idle(port: number, count: number): Promise<net.Socket[]> {
  const all: net.Socket[] = []
  while (all.length < count) {
    const some = Math.min(200, count - all.length)
    all.push(...(await Promise.all(Array.from({ length: some }, () => answered(port)))))
  }
  return all
}

async function answered(port: number): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nHost: bench\r\n\r\n')
  await once(socket, 'data')
  return socket.resume()
}

/**
 * A million requests through a hundred rolling restarts of `steward serve`: with two workers, the new one of which is ready before the old one
 * goes; and with one whose resource is exclusive, which is gone before the new one opens.
 * `node bench/restarts.ts [--requests 1000000] [--restarts 100] [--clients 24] [--only rolling,exclusive]`
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Loops, tableOf } from './loops.ts'
import { described, machine } from './machine.ts'
import { freePort, Running } from './supervisor/running.ts'
import { rssOf } from './supervisor/tree.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000000' },
    restarts: { type: 'string', default: '100' },
    clients: { type: 'string', default: '24' },
    only: { type: 'string', default: 'rolling,exclusive' },
  },
})
const REQUESTS = Number(values.requests)
const RESTARTS = Number(values.restarts)

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const APP = fileURLToPath(new URL('supervisor/programs/app.ts', import.meta.url))

const WAYS = {
  rolling: { says: 'two workers, start first', workers: 2, exclusive: '0' },
  exclusive: { says: 'one worker, stop first', workers: 1, exclusive: '1' },
} as const
type Way = keyof typeof WAYS

await main()

async function main(): Promise<void> {
  console.log(described(machine([])))
  const words = values.only.split(',')
  for (const way of ['rolling', 'exclusive'] as const) if (words.includes(way)) await run(way)
}

async function run(way: Way): Promise<void> {
  const { says, workers, exclusive } = WAYS[way]
  const port = await freePort()
  const args = ['serve', APP, '--port', String(port), '--workers', String(workers)]
  const command = [process.execPath, MAIN, ...args, '--no-control']
  await using program = new Running(command, { env: { EXCLUSIVE: exclusive } })
  await program.said('"event":"worker.ready"', workers)
  const began = performance.now()
  const loops = new Loops(port, Number(values.clients))
  const memory: number[] = []
  for (let restart = 1; restart <= RESTARTS; restart++) {
    await loops.reached((REQUESTS / (RESTARTS + 1)) * restart)
    program.child.kill('SIGHUP')
    await program.said('"event":"roll.ended"', restart)
    memory.push(rssOf(program.pid))
  }
  await loops.reached(REQUESTS)
  await loops.stop()
  const took = performance.now() - began
  const code = await program.end()
  console.log(`\n${says}: ${RESTARTS} restarts, ${(took / 1_000).toFixed(0)} s\n`)
  print(loops, program, code)
  const [first, middle, last] = [0, RESTARTS >> 1, RESTARTS - 1].map((at) => memory[at]!.toFixed(1))
  console.log(`the supervisor holds ${first} MB after the first, ${middle} in the middle, ${last} at the end`) // oxfmt-ignore
}

function print(loops: Loops, program: Running, code: number | string): void {
  console.log(tableOf(loops))
  const { failed, total } = loops
  const bad = ['worker.killed', 'worker.dying', 'roll.failed', 'request.cut', 'error'].filter(
    (event) => program.count(`"event":"${event}"`) > 0,
  )
  const isMet = failed === 0 && code === 0 && bad.length === 0
  console.log(
    `\n${isMet ? 'met   ' : 'MISSED'}  nothing is lost: ${failed} of ${total} refused, reset, truncated or not 200; exit code ${code}${bad.map((event) => `; ${event}`).join('')}`,
  )
  if (!isMet) process.exitCode = 1
}

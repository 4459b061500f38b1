/**
 * What is lost while one process after another takes over a listening socket:
 * `node bench/handover.ts [--requests 1000000] [--handovers 100] [--clients 24]`. A third of the clients keep their
 * connection, a third want a new one for each request, a third do now this, now that. Each asks again as soon as it was answered,
 * and never tries again.
 */
import net from 'node:net'
import { parseArgs } from 'node:util'
import { Subject } from './drain/subject.ts'
import { Loops, tableOf } from './loops.ts'
import { described, machine } from './machine.ts'

const { values } = parseArgs({
  options: {
    requests: { type: 'string', default: '1000000' },
    handovers: { type: 'string', default: '100' },
    clients: { type: 'string', default: '24' },
  },
})
const REQUESTS = Number(values.requests)
const HANDOVERS = Number(values.handovers)

await main()

async function main(): Promise<void> {
  using socket = new net.BoundSocket({ host: '127.0.0.1' })
  const { port } = socket.address()
  const start = (): Promise<Subject> => Subject.start('steward', { fd: 3 }, socket.fd())
  let current = await start()
  const began = performance.now()
  const loops = new Loops(port, Number(values.clients))
  const codes: (number | string)[] = []
  for (let handover = 1; handover <= HANDOVERS; handover++) {
    await loops.reached((REQUESTS / (HANDOVERS + 1)) * handover)
    const next = await start()
    current.signal()
    codes.push((await current.exit()).code)
    current = next
  }
  await loops.reached(REQUESTS)
  await loops.stop()
  current.signal()
  codes.push((await current.exit()).code)
  print(loops, codes, performance.now() - began)
}

function print(loops: Loops, codes: readonly (number | string)[], took: number): void {
  console.log(described(machine([])))
  console.log(`${HANDOVERS} hand-overs, ${(took / 1_000).toFixed(0)} s\n`)
  console.log(tableOf(loops))
  const { lost, total } = loops
  const bad = codes.filter((code) => code !== 0).length
  console.log(
    `\n${lost === 0 && bad === 0 ? 'met   ' : 'MISSED'}  nothing is lost: ${lost} of ${total}, ${bad} of ${codes.length} exit codes other than 0`,
  )
  if (lost > 0 || bad > 0) process.exitCode = 1
}

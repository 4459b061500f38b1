import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { ClosedLoop } from '../helpers/closed-loop.ts'
import { Developed } from '../helpers/developed.ts'
import type { Line } from '../helpers/program.ts'
import type { RawClient } from '../helpers/raw-client.ts'

/** How many reloads: 50 by hand, with a machine to itself. */
const RELOADS = Number(process.env['RELOADS'] ?? 6)

/** What a reload may take beside the app's own stop and start, in milliseconds: 1 s where nobody else needs the processors. */
const LIMIT = process.env['RELOADS'] === undefined ? 5_000 : 1_000

describe(`${RELOADS} reloads`, () => {
  it('D5 D1 D2 with a slow close, a stream and an upgraded connection leave nothing behind, and refuse nobody', async (test) => {
    using program = await Developed.serving()
    const port = await program.port()
    await reload(program, 1)
    const before = heldBy(program)
    // An idle connection is kept for 0.1 s, which a client may miss on a busy machine: browsers ask again then
    const loop = new ClosedLoop(port, 4, 'close')
    const beside: number[] = []
    const parts: string[] = []
    for (let count = 2; count <= RELOADS + 1; count++) {
      using stream = await opened(program, 'GET /events HTTP/1.1\r\nHost: test', 'hello')
      const upgrade = 'Connection: Upgrade\r\nUpgrade: chat'
      using socket = await opened(program, `GET / HTTP/1.1\r\nHost: test\r\n${upgrade}`, '101')
      const took = await reload(program, count)
      beside.push(took - ownOf(program))
      parts.push(partsOf(program))
      await Promise.all([stream.closed, socket.closed])
    }
    const { ok, failures } = await loop.stop()
    const after = heldBy(program)
    const longest = Math.round(Math.max(...beside))
    const middle = Math.round(beside.toSorted((one, other) => one - other)[RELOADS >> 1]!)
    test.diagnostic(`beside the app's own: median ${middle} ms, longest ${longest} ms`)
    test.diagnostic(`the longest: ${parts[beside.indexOf(Math.max(...beside))]}`)
    test.diagnostic(`requests: ${ok}`)
    test.diagnostic(`before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`)
    assert.deepEqual(failures, [])
    assert.ok(ok > RELOADS, `${ok} requests`)
    assert.equal(program.connections, 1, 'one database connection at a time')
    assert.equal(program.stderr, '', 'no lock was held')
    assert.ok(longest < LIMIT, `${longest} ms beside the app's own stop and start`)
    assert.equal(after.descriptors, before.descriptors)
    assert.equal(after.processes, before.processes)
    assert.ok(after.rss < before.rss + 20, `${before.rss} MB became ${after.rss} MB`)
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
  })
})

/** Saves, and waits for an answer of the new code: how long that took, in milliseconds. */
async function reload(program: Developed, count: number): Promise<number> {
  const since = performance.now()
  program.say(`code ${count}`)
  await program.reloaded(count)
  assert.equal(await program.text(), `code ${count}`)
  return performance.now() - since
}

/** What has taken how long in the last reload. */
function partsOf({ lines }: Developed): string {
  const last = (event: string): Line => lines.findLast((line) => line.event === event)!
  const { draining } = last('service.closed')['took'] as { draining: number }
  const [stop, start] = [last('roll.ended')['took'], last('worker.ready')['took']].map(Number)
  return `drain ${draining} ms, from the start of the process ${start} ms, all ${stop} ms`
}

/** How long the app itself has taken for its last stop and its last start, in milliseconds. */
function ownOf({ lines }: Developed): number {
  const last = (event: string): Line => lines.findLast((line) => line.event === event)!
  const { closing } = last('service.closed')['took'] as { closing: number }
  return closing + Number(last('service.ready')['took'])
}

async function opened(program: Developed, head: string, says: string): Promise<RawClient> {
  const client = (await program.connect()).send(`${head}\r\n\r\n`)
  await client.sees(says)
  return client
}

/** Of the supervisor; its memory in megabytes. */
function heldBy(program: Developed): { descriptors: number; processes: number; rss: number } {
  const status = readFileSync(`/proc/${program.child.pid}/status`, 'utf8')
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status)!
  const rss = Math.round(Number(kilobytes) / 1_024)
  return { descriptors: program.descriptors, processes: childrenOf(program.child.pid!), rss }
}

function childrenOf(parent: number): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.filter((pid) => parentOf(pid) === parent).length
}

function parentOf(pid: string): number {
  try {
    return Number(
      readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ')[1],
    )
  } catch {
    // It has just ended
    return 0
  }
}

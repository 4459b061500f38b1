import assert from 'node:assert/strict'
import { after, describe, it, type TestContext } from 'node:test'
import { issue, writePair } from '../helpers/certificates.ts'
import { Random } from '../helpers/random.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { runClient } from './clients.ts'
import { Generations, PLAIN, type Way } from './generations.ts'
import { Ledger } from './ledger.ts'

/** How long it goes on, in seconds; an hour finds what a minute does not. */
const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 60)

/** What everything random is drawn from; the same seed gives the same clients and stops, though not the same moments. */
const SEED = Number(process.env['SOAK_SEED'] ?? Math.trunc(Math.random() * 1e9))

/** How many clients each way to the service has. */
const CLIENTS = 24

const folder = temporaryFolder()
after(() => folder[Symbol.dispose]())
const { cert, key } = writePair(folder.path, issue())
const ENCRYPTED = ['--tls-cert', cert, '--tls-key', key]

const WAYS: readonly Way[] = [
  PLAIN,
  { name: 'by its first bytes', tls: false, http2: true, args: ['--http2'] },
  { name: 'over TLS', tls: true, http2: true, args: ['--http2', ...ENCRYPTED] },
]

describe('a soak: random clients against repeated stops', { concurrency: true }, () => {
  const timeout = SECONDS * 1_000 + 60_000
  for (const way of WAYS) {
    const name = `H10 H11 H14 G1 P2 R10 X2 ${way.name}: executes and answers, or reports as cut`
    it(`${name} (SOAK_SEED=${SEED})`, { timeout }, (test) => soak(way, test))
  }
})

async function soak(way: Way, test: TestContext): Promise<void> {
  using generations = new Generations(new Random(SEED), way)
  const ledger = new Ledger(generations)
  const until = performance.now() + SECONDS * 1_000
  const load = new AbortController()
  let current = await generations.start()
  const { port } = generations
  const shared = { seed: SEED, port, way, ledger, ending: load.signal }
  const clients = Array.from({ length: CLIENTS }, (_, number) => runClient(number + 1, shared))
  while (performance.now() < until && ledger.violations.length < 10) {
    current = await generations.replace(current)
    ledger.settle()
  }
  load.abort()
  await Promise.all(clients)
  await generations.stop(current)
  ledger.settle()
  test.diagnostic(
    `${way.name}: ${generations.all.length} processes; ${JSON.stringify(ledger.tally)}`,
  )
  const { violations } = ledger
  const report = `SOAK_SEED=${SEED}: ${violations.length} violations\n${violations.slice(0, 5).join('\n')}`
  assert.equal(violations.length, 0, report)
  assert.ok(ledger.tally['answered 200']! > SECONDS, 'there was load')
}

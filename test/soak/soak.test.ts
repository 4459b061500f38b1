import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Random } from '../helpers/random.ts'
import { runClient } from './clients.ts'
import { Generations } from './generations.ts'
import { Ledger } from './ledger.ts'

/** How long it goes on, in seconds; an hour finds what a minute does not. */
const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 60)

/** What everything random is drawn from; the same seed gives the same clients and stops, though not the same moments. */
const SEED = Number(process.env['SOAK_SEED'] ?? Math.trunc(Math.random() * 1e9))

const CLIENTS = 64

describe('a soak: random clients against repeated stops', () => {
  const timeout = SECONDS * 1_000 + 60_000
  it(
    `H10 H11 P2 R10 X2 executes and answers, or reports as cut (SOAK_SEED=${SEED})`,
    { timeout },
    async (test) => {
      using generations = new Generations(new Random(SEED))
      const ledger = new Ledger(generations)
      const until = performance.now() + SECONDS * 1_000
      const load = new AbortController()
      let current = await generations.start()
      const { port } = generations
      const shared = { seed: SEED, port, ledger, ending: load.signal }
      const clients = Array.from({ length: CLIENTS }, (_, number) => runClient(number + 1, shared))
      while (performance.now() < until && ledger.violations.length < 10) {
        current = await generations.replace(current)
        ledger.settle()
      }
      load.abort()
      await Promise.all(clients)
      await generations.stop(current)
      ledger.settle()
      test.diagnostic(`${generations.all.length} processes; ${JSON.stringify(ledger.tally)}`)
      const { violations } = ledger
      const report = `SOAK_SEED=${SEED}: ${violations.length} violations\n${violations.slice(0, 5).join('\n')}`
      assert.equal(violations.length, 0, report)
      assert.ok(ledger.tally['answered 200']! > SECONDS, 'there was load')
    },
  )
})

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ClosedLoop } from '../helpers/closed-loop.ts'
import { MAIN } from '../helpers/program.ts'
import { root } from '../helpers/repository.ts'
import { WithWorkers } from '../helpers/supervised.ts'

const DOORS = [
  'steward/hono',
  'steward/node',
  'steward/fastify',
  'steward/koa',
  'steward/express on Express 5',
  'steward/express on Express 5 as a middleware',
  'steward/express on Express 4',
  'steward/nest on Express',
  'steward/nest on Fastify',
]

const PROGRAM = join(root, 'test/programs/doors.ts')

describe('the same app in every framework', { concurrency: 2 }, () => {
  for (const door of DOORS) {
    it(`V3 loses no request in a rolling restart under load: ${door}`, async () => {
      const serving = [MAIN, 'serve', PROGRAM, '--port', '0', '--workers', '2']
      using program = new WithWorkers(serving, { env: { DOOR: door } })
      await program.nth('worker.ready', 2)
      const port = await program.port()
      const loops = [new ClosedLoop(port, 8), new ClosedLoop(port, 8, 'close')]
      await program.roll(1)
      const tallies = await Promise.all(loops.map((loop) => loop.stop()))
      for (const { ok, failures } of tallies) {
        assert.deepEqual(failures, [])
        assert.ok(ok > 50, `${ok} requests`)
      }
      const workers = new Set(tallies.flatMap(({ lastFrom }) => [...lastFrom.keys()]))
      assert.ok(workers.size >= 3, `${workers.size} workers have answered, of both generations`)
      program.signal('SIGTERM')
      assert.deepEqual(await program.exit(), { code: 0, signal: null })
    })
  }
})

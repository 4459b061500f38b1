import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { root } from '../helpers/repository.ts'

const file = join(root, 'test/programs/request-heap.ts')

const DOORS = [
  'hono', 'node', 'fastify', 'fastify-hook', 'express', 'express-middleware', 'koa', 'nest',
] // oxfmt-ignore

describe('10,000 requests with injected resources', () => {
  for (const door of DOORS) {
    it(`leave nothing behind in steward/${door}`, async () => {
      const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file, door])
      const { grown, left, looked, open } = JSON.parse(stdout) as Record<string, number>
      assert.equal(looked, 100)
      // The last ones may still be held by their connections
      assert.ok(left! <= 1, `${left} of ${looked} are still there`)
      assert.equal(open, 0)
      assert.ok(grown! < 1_048_576, `the heap has grown by ${grown} bytes`)
    })
  }
})

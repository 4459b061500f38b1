import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { root } from '../helpers/repository.ts'

async function output(program: string): Promise<string> {
  const file = join(root, 'test/programs', program)
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file])
  return stdout
}

describe('the heap', () => {
  it('R12 is where it was after 30,000 request scopes: no value of a request is reachable', async () => {
    const grown = Number(await output('scope-heap.ts'))
    assert.ok(grown < 1_000_000, `grown by ${grown} bytes`)
  })
})

describe('leak mode', () => {
  it('R18 warns of a scope that is collected unclosed, with where it was entered', async () => {
    const warnings = JSON.parse(await output('scope-leak.ts')) as string[]
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!, /^A request scope was garbage-collected unclosed: close it/)
    assert.match(warnings[0]!, /It was entered at forgetful .*scope-leak\.ts:\d+/s)
  })
})

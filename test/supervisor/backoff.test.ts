import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Backoff } from '../../src/supervisor/backoff.ts'

/** So many deaths of workers that have lived for so long. */
function waits(count: number, { lived = 0, random = 0.5 } = {}): number[] {
  const backoff = new Backoff()
  return Array.from({ length: count }, () => backoff.died(lived, random))
}

describe('Backoff', () => {
  it('V4 waits not at all, then twice as long each time, up to 15 s', () => {
    assert.deepEqual(
      waits(11),
      [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000],
    )
  })

  it('V4 does not overflow after very many', () => {
    assert.equal(waits(5_000).at(-1), 15_000)
  })

  it('V4 leaves a fifth either way to chance', () => {
    assert.deepEqual(waits(2, { random: 0 })[1], 80)
    assert.ok(Math.abs(waits(2, { random: 0.999_999 })[1]! - 120) < 0.01)
  })

  it('V4 forgets when one has lived for 30 s', () => {
    const backoff = new Backoff()
    backoff.died(0, 0.5)
    assert.equal(backoff.died(29_999, 0.5), 100)
    assert.equal(backoff.died(30_000, 0.5), 0)
    assert.equal(backoff.died(0, 0.5), 100)
  })
})

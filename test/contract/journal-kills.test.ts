import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { count, ledgerIn, violations, write, type Line } from '../helpers/ledger.ts'
import { Program } from '../helpers/program.ts'
import { pause } from '../helpers/pause.ts'
import { Random } from '../helpers/random.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

/** More of them, or others: `JOURNAL_KILLS=300 JOURNAL_SEED=7`. */
const KILLS = Number(process.env['JOURNAL_KILLS'] ?? 30)
const SEED = Number(process.env['JOURNAL_SEED'] ?? 617)

const begin = (folder: string): Program => Program.run('noted.ts', [folder])

async function kill(folder: string, program: Program): Promise<void> {
  const pid = program.child.pid!
  write(folder, 'killing', pid)
  program.signal('SIGKILL')
  await program.exit()
  write(folder, 'killed', pid)
}

/** Before anything is open, or while it settles what others have left, or while it opens and closes. */
async function aMoment(random: Random, program: Program): Promise<void> {
  if (random.chance(0.2)) {
    await program.event('started')
  } else if (random.chance(0.4)) {
    await Promise.race([program.event('recovering'), program.event('opening')])
  } else {
    await program.event('opening')
    await pause(random.next() * 20)
  }
}

/** After all of it, one that is left alone. */
async function settle(folder: string): Promise<Line[]> {
  using last = Program.run('noted.ts', [folder, 'once'])
  assert.deepEqual(await last.exit(), { code: 0, signal: null })
  assert.deepEqual(readdirSync(join(folder, 'things')), [])
  return ledgerIn(folder)
}

describe('the journal, under SIGKILL', () => {
  it(`J2 settles what each of ${KILLS} killed processes left, before it opens again`, async (t) => {
    using folder = temporaryFolder()
    const random = new Random(SEED)
    // On a busy machine, on until enough were killed that had left a note
    const isIdle = (): boolean => count(ledgerIn(folder.path), 'recovered') <= KILLS / 8
    for (let round = 0; round < KILLS || (round < KILLS * 10 && isIdle()); round++) {
      using program = begin(folder.path)
      await aMoment(random, program)
      await kill(folder.path, program)
    }
    const lines = await settle(folder.path)

    assert.deepEqual(violations(lines), [], `seed ${SEED}`)
    t.diagnostic(
      `${count(lines, 'noted')} noted, ${count(lines, 'recovered')} settled, of ${KILLS} killed`,
    )
    assert.ok(count(lines, 'recovered') > KILLS / 8)
  })

  it('J3 leaves the notes of the living alone, while others are killed and come back', async (t) => {
    using folder = temporaryFolder()
    const random = new Random(SEED, 3)
    const programs = [begin(folder.path), begin(folder.path), begin(folder.path)]
    try {
      // On a busy machine, on until one was killed that had left a note
      const isIdle = (): boolean => count(ledgerIn(folder.path), 'recovered') === 0
      for (let round = 0; round < KILLS / 2 || (round < KILLS * 10 && isIdle()); round++) {
        const one = random.int(0, 2)
        await aMoment(random, programs[one]!)
        await kill(folder.path, programs[one]!)
        programs[one] = begin(folder.path)
      }
      for (const program of programs) await kill(folder.path, program)
    } finally {
      for (const program of programs) program[Symbol.dispose]()
    }
    const lines = await settle(folder.path)

    assert.deepEqual(violations(lines), [], `seed ${SEED}`)
    t.diagnostic(`${count(lines, 'noted')} noted, ${count(lines, 'recovered')} settled`)
    assert.ok(count(lines, 'recovered') > 0)
  })

  it('would notice a note that is lost, one of the living that is settled, and two who settle at a time', () => {
    const line = (what: string, pid: number, token = ''): Line => ({ what, pid, token })
    const dead = [line('noted', 1, '1-0'), line('killing', 1), line('killed', 1)]
    assert.deepEqual(violations(dead), ['1-0 never settled'])
    assert.deepEqual(
      violations([...dead, line('started', 2), line('opening', 2), line('recovered', 2, '1-0')]),
      ['1-0 not settled'],
    )
    const settled = (pid: number): Line[] => [
      line('recovering', pid, '1-0'),
      line('recovered', pid, '1-0'),
    ]
    assert.deepEqual(violations([line('noted', 1, '1-0'), ...settled(2)]), [
      '1-0 settled while its owner lives',
    ])
    assert.deepEqual(violations([...dead, line('recovering', 2, '1-0'), ...settled(3)]), [
      '1-0 settled by two at a time',
    ])
    assert.deepEqual(violations([...dead, ...settled(2), ...settled(2)]), [
      '1-0 settled twice by one',
    ])
    assert.deepEqual(violations([...dead, ...settled(2), ...settled(3)]), [])
  })
})

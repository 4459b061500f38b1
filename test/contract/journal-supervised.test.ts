import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { count, ledgerIn, violations, write } from '../helpers/ledger.ts'
import { processesOf, serveNoted, taken } from '../helpers/noted-service.ts'
import { pause } from '../helpers/pause.ts'
import type { Line, Program } from '../helpers/program.ts'
import { Random } from '../helpers/random.ts'
import { gone } from '../helpers/supervised.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

/** More of them, or others: `SUPERVISED_KILLS=200 JOURNAL_SEED=7`. */
const KILLS = Number(process.env['SUPERVISED_KILLS'] ?? 10)
const SEED = Number(process.env['JOURNAL_SEED'] ?? 617)

const clean = { code: 0, signal: null }
const failed = { code: 1, signal: null }

/** One whose only worker is killed while it closes what it holds: nobody follows that would settle its notes. */
async function killedAtTheStop(folder: string, env: Record<string, string> = {}): Promise<Program> {
  const program = serveNoted(folder, 1, { ...env, CLOSE: 'slow' })
  const { pid } = await program.event('worker.ready')
  program.signal('SIGTERM')
  await program.event('app.closing')
  process.kill(Number(pid), 'SIGKILL')
  return program
}

describe('notes of a worker that no other follows', { concurrency: 2 }, () => {
  it('J2 are settled by a process that the supervisor starts for them', async () => {
    using folder = temporaryFolder()
    using program = await killedAtTheStop(folder.path)
    assert.deepEqual(await program.exit(), failed)
    assert.deepEqual(taken(folder.path), [])
    const { clean: isClean, pid } = await program.event('settling.ended')
    assert.equal(isClean, true)
    const { pid: by } = ledgerIn(folder.path).find(({ what }) => what === 'recovered')!
    assert.equal(by, pid)
  })

  it('J2 are settled after a first start that died, too', async () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'lock'), 'of somebody else')
    using program = serveNoted(folder.path, 1, { LOCK: 'yes', CLOSE: 'slow' })
    // It undoes its start, and is killed in the middle of that
    const { pid } = await program.event('app.closing')
    process.kill(Number(pid), 'SIGKILL')
    assert.deepEqual(await program.exit(), failed)
    assert.equal((await program.event('settling.ended'))['clean'], true)
    assert.deepEqual(taken(folder.path), ['lock'], 'what is not ours stays')
  })

  it('J2 that cannot be settled within the grace wait for the next start', async () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'hang'), '')
    using program = await killedAtTheStop(folder.path, { RECOVER: 'hangs' })
    assert.deepEqual(await program.exit(), failed)
    const { clean: isClean, took, pid } = await program.event('settling.ended')
    assert.equal(isClean, false)
    assert.ok(Number(took) < 4_000, `${String(took)} ms`)
    await gone(Number(pid))
    rmSync(join(folder.path, 'hang'))
    assert.equal(taken(folder.path).length, 1)
    using next = serveNoted(folder.path, 1)
    await next.event('worker.ready')
    next.signal('SIGTERM')
    assert.deepEqual(await next.exit(), clean)
    assert.deepEqual(taken(folder.path), [])
  })

  it('J2 are left to the next start where a second signal comes, or their process is killed', async () => {
    for (const how of ['a signal', 'a kill']) {
      using folder = temporaryFolder()
      writeFileSync(join(folder.path, 'hang'), '')
      using program = await killedAtTheStop(folder.path, { RECOVER: 'hangs' })
      const { pid } = await program.event('app.recovering')
      if (how === 'a kill') process.kill(Number(pid), 'SIGKILL')
      else program.signal('SIGINT')
      assert.deepEqual(await program.exit(), failed)
      await gone(Number(pid))
      rmSync(join(folder.path, 'hang'))
      using next = serveNoted(folder.path, 2)
      await next.event('worker.ready', ({ slot }) => slot === 1)
      assert.equal(taken(folder.path).length, 2)
      next.signal('SIGTERM')
      assert.deepEqual(await next.exit(), clean)
    }
  })

  it('J2 are none after a stop in order: no process is started for them', async () => {
    using folder = temporaryFolder()
    using program = serveNoted(folder.path, 2)
    await program.event('worker.ready', ({ slot }) => slot === 1)
    process.kill(Number((await program.event('worker.ready'))['pid']), 'SIGKILL')
    await program.event('note.settled')
    program.signal('SIGTERM')
    await program.exit()
    assert.deepEqual(program.names('settling.started'), [])
    assert.deepEqual(taken(folder.path), [])
  })
})

/** In the middle of settling, where there is anything to settle; at its start; while it opens what it holds; or later. */
async function aMoment(random: Random, program: Program): Promise<void> {
  const [event, most] = random.pick([
    ['app.recovering', 8],
    ['app.recovering', 0],
    ['resource.opening', 40],
    ['worker.ready', 300],
    ['supervisor.listening', 500],
  ] as const)
  const ready = program.event('worker.ready')
  const other = event === 'app.recovering' ? [program.event(event)] : []
  // Neither may ever come
  for (const promise of [ready, ...other]) promise.catch(() => {})
  await (event === 'app.recovering' ? Promise.race([ready, ...other]) : program.event(event))
  await pause(random.next() * most)
}

/** Kills all of it, the supervisor first; or the supervisor alone, or a worker and then all. */
async function killAll(random: Random, folder: string, program: Program): Promise<void> {
  const workers = processesOf(program)
  const dies = random.pick(['all', 'all', 'all', 'worker', 'supervisor'])
  for (const pid of workers) write(folder, 'killing', pid)
  if (dies === 'worker' && workers.length > 0) {
    kill(workers.at(-1)!)
    await pause(random.next() * 300)
  }
  const later = processesOf(program)
  for (const pid of later) if (!workers.includes(pid)) write(folder, 'killing', pid)
  program.signal('SIGKILL')
  if (dies !== 'supervisor') for (const pid of later) kill(pid)
  // Those that were just started hear that it is gone; with the last of them its output ends
  await program.exit()
  for (const pid of processesOf(program)) write(folder, 'killed', pid)
}

/** What must not be in the log of any; a start that is stopped says of what it was opening that it did not open. */
function isTrouble({ event, error }: Line): boolean {
  const { code } = (error ?? {}) as { code?: string }
  if (event === 'resource.failed') return code !== 'ERR_SCOPE_CLOSED' && code !== 'ERR_OPEN_ABORTED'
  return event === 'warning' || event === 'error' || event === 'note.failed'
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has gone
  }
}

describe('the journal under a supervisor', () => {
  for (const [workers, env] of [
    [2, {}],
    [1, { LOCK: 'yes' }],
  ] as const) {
    it(`J2 J3 settles all notes after ${KILLS} times at which everything was killed: ${workers} at a time`, async (t) => {
      using folder = temporaryFolder()
      const random = new Random(SEED, workers)
      for (let round = 0; round < KILLS; round++) {
        using program = serveNoted(folder.path, workers, env)
        await aMoment(random, program)
        await killAll(random, folder.path, program)
        assert.deepEqual(program.lines.filter(isTrouble), [])
      }
      using last = serveNoted(folder.path, workers, env)
      await last.event('worker.ready', ({ slot }) => slot === workers - 1)
      last.signal('SIGTERM')
      assert.deepEqual(await last.exit(), clean)
      assert.deepEqual(taken(folder.path), [])
      const lines = ledgerIn(folder.path)
      assert.deepEqual(violations(lines), [], `seed ${SEED}`)
      const settled = count(lines, 'recovered')
      t.diagnostic(`${count(lines, 'noted')} noted, ${settled} settled, ${count(lines, 'recovering')} begun`) // oxfmt-ignore
      assert.ok(settled > 0)
    })
  }
})

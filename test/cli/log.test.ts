import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Writable } from 'node:stream'
import type { WriteStream } from 'node:tty'
import { stripVTControlCharacters } from 'node:util'
import { StewardError } from '../../src/base/errors.ts'
import type { ServiceEvent } from '../../src/base/events.ts'
import { jsonLog } from '../../src/cli/log.ts'
import { Screen } from '../../src/cli/screen.ts'

/** A stream that keeps what is written. */
class Kept extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}

function logged(...events: ServiceEvent[]): Record<string, unknown>[] {
  const kept = new Kept()
  const log = jsonLog(kept)
  for (const event of events) log(event)
  return kept.text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

function shown(...events: ServiceEvent[]): string[] {
  const kept = new Kept()
  const { show } = new Screen('app.ts', kept as unknown as WriteStream, 'whole')
  for (const event of events) show(event)
  return stripVTControlCharacters(kept.text).trimEnd().split('\n')
}

const failed = (error: unknown): ServiceEvent => ({ type: 'error', message: 'It failed', error })

const requestFailed = (error: unknown): ServiceEvent => ({
  type: 'request.failed',
  method: 'GET',
  url: '/orders',
  path: ['orders', 'user'],
  error,
})

describe('a request that failed', () => {
  it('is information where the client is at fault, an error where the service is', () => {
    const unauthorized = Object.assign(new Error('who are you'), { status: 401 })
    const lines = logged(requestFailed(unauthorized), requestFailed(new Error('broken')))
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['info', 'error'],
    )
    assert.equal(shown(requestFailed(unauthorized)).length, 1, 'no stack for what the client did')
    assert.ok(shown(requestFailed(new Error('broken'))).length > 1)
  })
})

describe('jsonLog()', () => {
  it('writes whatever was thrown, errors in a circle too', () => {
    const circle: Error & { cause?: unknown } = new Error('circle')
    circle.cause = circle
    const odd: Record<string, unknown> = { big: 1n, self: undefined }
    odd['self'] = odd
    const lines = logged(
      failed(circle),
      failed(odd),
      failed(undefined),
      failed(Symbol('odd')),
      failed(new Error('x', { cause: 1n })),
    )
    assert.equal(lines.length, 5)
    assert.deepEqual(
      lines.map(({ level }) => level),
      Array.from({ length: 5 }, () => 'error'),
    )
    assert.equal((lines[0]!['error'] as Error).message, 'circle')
    assert.match((lines[1]!['error'] as Error).message, /big: 1n/)
  })

  it('writes the code, the cause and every error of ours', () => {
    const inner = new StewardError('ERR_CLOSE', 'two', {
      errors: [new Error('a'), new Error('b')],
      cause: new Error('a'),
    })
    const [line] = logged(failed(inner))
    const { code, cause, errors } = line!['error'] as {
      code: string
      cause: Error
      errors: Error[]
    }
    assert.deepEqual(
      [code, cause.message, errors.map(({ message }) => message)],
      ['ERR_CLOSE', 'a', ['a', 'b']],
    )
  })

  it('P6 writes what is waited for once, for the start and for the stop', () => {
    const list = [{ kind: 'request' as const, what: 'GET /', age: 1_000.26 }]
    const start: ServiceEvent = { type: 'start.waiting', for: list }
    const drain: ServiceEvent = { type: 'drain.waiting', for: list }
    const lines = logged(start, start, drain, drain)
    assert.deepEqual(
      lines.map(({ event }) => event),
      ['start.waiting', 'drain.waiting'],
    )
    assert.deepEqual(lines[1]!['for'], [{ kind: 'request', what: 'GET /', age: 1_000.3 }])
  })

  it('X3 shows no password of a URL', () => {
    const error = new Error('connect amqp://me:s3cret@queue/x and postgres://me:s%40cret@db')
    assert.doesNotMatch(JSON.stringify(logged(failed(error))), /s3cret|s%40cret/)
    assert.match(JSON.stringify(logged(failed(error))), /amqp:\/\/me:\*\*\*@queue\/x/)
  })
})

describe('Screen', () => {
  it('names the oldest three that are waited for', () => {
    const list = [1, 2, 3, 4, 5].map((age) => ({
      kind: 'request' as const,
      what: `GET /${age}`,
      age: age * 1_000,
    }))
    assert.deepEqual(shown({ type: 'drain.waiting', for: list }), [
      '  … waiting for request GET /5 (5.0 s), request GET /4 (4.0 s), request GET /3 (3.0 s) and 2 more',
    ])
  })

  it('shows where user code threw, and of our own errors what they mean', () => {
    const thrown = new Error('two\nlines')
    const lines = shown({
      type: 'hook.ended',
      name: 'onShutdown',
      took: 1,
      error: new StewardError('ERR_HOOK', 'Cannot finish onShutdown: two', { cause: thrown }),
    })
    assert.equal(lines[0], '  ✗ Cannot finish onShutdown: two')
    assert.match(lines[1]!, /^ {4}at .+log\.test\.ts/)
    assert.equal(
      shown({ type: 'error', message: 'm', error: new StewardError('ERR_CLOSE', 'm') }).length,
      1,
    )
  })

  it('P7 ends with a summary, but not after a start that failed', () => {
    const closed: ServiceEvent = {
      type: 'service.closed', clean: true, errors: [], served: { requests: 3, cut: 0, left: 1, refused: 0 }, took: { stopping: 5.04, draining: 1_234, closing: 61_000 },
    } // oxfmt-ignore
    assert.deepEqual(shown(closed), [''])
    assert.equal(
      shown({ type: 'service.ready', took: 5 }, closed).at(-1),
      'stopped: 3 served, 0 cut, 1 left by their clients; told in 5.0 ms, drained in 1.2 s, closed in 61 s',
    )
  })

  it('shows workers in a line each, and what died and why', () => {
    const worker = { slot: 1, pid: 42, generation: 1 }
    const lines = shown(
      { type: 'supervisor.listening', url: 'http://127.0.0.1:1', workers: 2 },
      { type: 'worker.starting', ...worker },
      { type: 'worker.ready', ...worker, took: 400 },
      { type: 'worker.gone', ...worker, age: 1, code: null, signal: 'SIGKILL', cause: 'killed' },
      { type: 'worker.gone', ...worker, age: 1, code: 0, signal: null, cause: '' },
      { type: 'worker.gone', ...worker, age: 1, code: 1, signal: null, cause: 'its start failed: no database' },
      { type: 'roll.failed', generation: 2, took: 1 },
      { type: 'supervisor.closed', clean: false, took: 1_000 },
    ) // oxfmt-ignore
    assert.deepEqual(lines, [
      'steward app.ts, 2 workers',
      '',
      '  ✓ worker 1                 ready in 400 ms  process 42',
      '',
      '  http://127.0.0.1:1   ready in 400 ms, Ctrl-C stops it',
      '',
      '  ✗ worker 1                 killed  process 42',
      '  ✗ worker 1                 its start failed  process 42',
      '  ✗ the new worker did not start: the others go on as they are',
      '',
      'stopped, not cleanly: all workers gone in 1.0 s',
    ])
  })

  it('leaves it to a single worker to say why its start failed', () => {
    const kept = new Kept()
    const { show } = new Screen('app.ts', kept as unknown as WriteStream, 'around')
    const gone = { type: 'worker.gone', slot: 0, pid: 42, generation: 1, age: 1, code: 1, signal: null } as const // oxfmt-ignore
    show({ ...gone, cause: 'its start failed: no database' })
    show({ ...gone, cause: 'its start failed, exit code 7' })
    assert.equal(
      stripVTControlCharacters(kept.text),
      '  ✗ worker 0                 its start failed, exit code 7  process 42\n',
    )
  })

  it('V9 shows the innermost of the stack of a worker that hangs, or why there is none', () => {
    const worker = { slot: 1, pid: 42, generation: 1 }
    const stack = Array.from({ length: 20 }, (_, line) => `    at spin (app.ts:${line}:1)`)
    const lines = shown(
      { type: 'worker.hung', ...worker, after: 30_000, underWay: 2, stack: stack.join('\n') },
      { type: 'worker.killed', ...worker, doing: 'hanging', after: 31_000 },
      { type: 'worker.retiring', ...worker, reason: 'SIGTERM' },
      { type: 'worker.hung', ...worker, after: 30_000, underWay: 0, stack: '', trouble: 'it sleeps' },
      { type: 'worker.killed', ...worker, doing: 'stopping', after: 26_000, stack: stack[0]! },
    ) // oxfmt-ignore
    assert.deepEqual(lines, [
      '  ✗ worker 1                 hangs: nothing heard for 30 s, with 2 under way  process 42',
      ...stack.slice(0, 8),
      '  … worker 1                 is replaced: SIGTERM  process 42',
      '  ✗ worker 1                 hangs: nothing heard for 30 s  process 42',
      '    no stack: it sleeps',
      '  ✗ worker 1                 killed: its stop took longer than 26 s  process 42',
      '    at spin (app.ts:0:1)',
    ])
  })

  it('shows of a worker only its trouble, with its number', () => {
    const kept = new Kept()
    const { show } = new Screen('app.ts', kept as unknown as WriteStream, 3)
    show({ type: 'service.opening', name: 'service' })
    show({ type: 'resource.opened', name: 'db', took: 1 })
    show({ type: 'service.ready', took: 1 })
    show({ type: 'warning', message: 'late' })
    assert.equal(stripVTControlCharacters(kept.text), '  ! worker 3: late\n')
  })

  it('D4 shows a reload as one line, with what has changed', () => {
    const kept = new Kept()
    const { show } = new Screen('app.ts', kept as unknown as WriteStream, 'reloading')
    const [old, worker] = [1, 2].map((generation) => ({
      slot: 0,
      pid: 40 + generation,
      generation,
    }))
    show({ type: 'supervisor.listening', url: 'http://127.0.0.1:3000', workers: 1 })
    show({ type: 'worker.ready', ...old!, took: 100 })
    const before = kept.text.length
    show({ type: 'roll.started', generation: 2, reason: 'db.ts and 1 more changed' })
    show({ type: 'worker.stopping', ...old!, reason: 'it is reloaded' })
    show({ type: 'worker.gone', ...old!, age: 1, code: 1, signal: null, cause: 'stopped, not cleanly: exit code 1' }) // oxfmt-ignore
    show({ type: 'worker.starting', ...worker! })
    show({ type: 'worker.ready', ...worker!, took: 100 })
    show({ type: 'roll.ended', generation: 2, took: 412 })
    assert.equal(
      stripVTControlCharacters(kept.text.slice(before)),
      '  ✓ db.ts and 1 more changed reloaded in 412 ms\n',
    )
  })

  it('D3 D4 says at once that a worker has died, and what comes next', () => {
    const kept = new Kept()
    const { show } = new Screen('app.ts', kept as unknown as WriteStream, 'reloading')
    const worker = { slot: 0, pid: 41, generation: 1 }
    show({ type: 'supervisor.listening', url: 'http://127.0.0.1:3000', workers: 1 })
    show({ type: 'worker.gone', ...worker, age: 1, code: null, signal: 'SIGSEGV', cause: 'crashed' }) // oxfmt-ignore
    show({ type: 'stub.ready', pid: 42, took: 60 })
    assert.deepEqual(stripVTControlCharacters(kept.text).trimEnd().split('\n').slice(2), [
      '  ✗ worker 0                 crashed  process 41',
      '  … waiting for the next change; browsers see the error',
    ])
  })
})

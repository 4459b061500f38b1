import { megabytes } from './recycling.ts'
import type { Exit, TooLong, Worker } from './worker.ts'

/** Why the supervisor itself has killed it. */
const KILLED: Readonly<Record<TooLong, string>> = {
  starting: 'killed: its start took too long',
  stopping: 'killed: its stop took too long',
  hanging: 'killed: its event loop was blocked; the requests on it are lost',
}

/** What a signal that ended a process has probably come from. */
const CAUSES: Readonly<Record<string, string>> = {
  SIGKILL: 'killed: by the kernel when memory ran out, by its own watchdog, or by somebody',
  SIGABRT: 'aborted: its heap was exhausted, or it called process.abort()',
  SIGSEGV: 'crashed in native code (SIGSEGV): most likely in an addon',
  SIGTRAP: 'crashed in the engine (SIGTRAP)',
  SIGILL: 'crashed in the engine (SIGILL)',
}

/** What has probably ended a worker, in words; empty when it stopped in order. */
export function causeOf(worker: Worker, exit: Exit): string {
  const { code, signal, error } = exit
  if (error !== undefined) return `it could not be started: ${error}`
  if (worker.wasKilled) return KILLED[worker.wasKilled]
  if (signal === 'SIGKILL' || signal === 'SIGABRT') return `${CAUSES[signal]}${memoryOf(worker)}`
  if (signal !== null) return CAUSES[signal] ?? `ended by ${signal}`
  if (worker.wasReady) return causeOfCode(worker, code)
  if (worker.failure !== '') return `its start failed: ${worker.failure}`
  if (code !== 0) return `its start failed, exit code ${code}`
  return worker.wasExpected ? '' : 'it has ended before it was ready'
}

/** Which of the causes it was, memory can tell. */
function memoryOf({ figures }: Worker): string {
  if (!figures) return ''
  const { rss, heap } = figures
  return `; it held ${megabytes(rss)} when it was last heard, ${megabytes(heap)} of it JavaScript`
}

function causeOfCode({ hasClosed }: Worker, code: number | null): string {
  if (!hasClosed) return `ended with exit code ${code} and closed nothing: it called process.exit()`
  return code === 0 ? '' : `stopped, not cleanly: exit code ${code}`
}

import { writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { realWorld, type Release } from '../base/world.ts'
import { SignalCount, STOP_SIGNALS } from './signals.ts'
import { answerWhereabouts } from './whereabouts.ts'

/** What the thread is told: how long a stop and a forced one may take in all, in milliseconds. */
interface Limits {
  readonly watchdog: true
  readonly grace: number
  readonly reserve: number
  /** In a worker of a supervisor: the descriptor on which it is asked where the main thread is. */
  readonly questions?: number | undefined
}

/** The main thread's word: a stop has begun, or was forced. */
type Word = 'stopping' | 'forced'

/** A second thread that ends the process when a stop has not ended in time: a blocked event loop defeats no stop. */
export interface Watchdog {
  /** Resolves when it hears signals: what blocks the loop before that would keep it from hearing the first. */
  readonly ready: Promise<void>
  /** A stop has begun that no signal asked for. */
  stopping(): void
  forced(): void
  /** The service has closed, or never started. */
  end(): void
}

/**
 * Starts the watchdog. It hears the stop signals by itself, since a blocked main thread cannot pass them on, and kills the
 * process 1 s after the grace, or after the close reserve when the stop was forced; it says so in one line first. It holds
 * neither the event loop nor the exit.
 *
 * Node delivers signals to listeners of the main thread only; in the watchdog's thread they come through the binding that
 * Node itself uses (`--expose-internals`, for that thread alone). Where a Node version has no such binding, the watchdog
 * still guards every stop that the main thread could begin.
 */
export function startWatchdog(
  limits: Omit<Limits, 'watchdog'>,
  onError: (error: unknown) => void,
): Watchdog {
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { ...limits, watchdog: true } satisfies Limits,
    execArgv: ['--expose-internals', '--no-warnings'],
    name: 'steward watchdog',
    // It takes little; only the stack of a deep recursion, which it is asked for once, is large
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
  })
  worker.on('error', onError)
  const say = (word: Word): void => worker.postMessage(word)
  return {
    ready: isReady(worker),
    stopping: () => say('stopping'),
    forced: () => say('forced'),
    end: () => void worker.terminate(),
  }
}

/** It does not hold the event loop, except until then. */
async function isReady(worker: Worker): Promise<void> {
  await new Promise<void>((resolve) => {
    worker.once('message', () => resolve())
    worker.once('exit', () => resolve())
  })
  worker.unref()
}

/** How long it waits beyond the time that a stop has, in milliseconds. */
const MERCY = 1_000

function watch({ grace, reserve, questions }: Limits): void {
  if (questions !== undefined) answerWhereabouts(questions)
  const count = new SignalCount()
  let armed: { at: number; disarm: Release } | undefined
  // Never put off: both threads hear of a stop, one after the other
  const arm = (ms: number, what: string): void => {
    const at = realWorld.now() + ms + MERCY
    if (armed && armed.at <= at) return
    armed?.disarm()
    const end = (): void => kill(`the stop had not ended ${ms + MERCY} ms after ${what}`)
    armed = { at, disarm: realWorld.timer(ms + MERCY, end) }
  }
  const onWord = (word: Word): void =>
    word === 'forced' ? arm(reserve, 'it was forced') : arm(grace, 'it began')
  parentPort!.on('message', onWord)
  onSignals((name) => {
    const which = count.next(name, realWorld.now())
    // A worker that is sent one asks to be replaced, and stops when it is told to
    if (which === 1) return questions === undefined ? arm(grace, name) : undefined
    if (which === 2) arm(reserve, `a second signal, ${name}`)
    else if (which > 2) {
      realWorld.timer(MERCY, () => kill(`a third signal, ${name}, was not obeyed`))
    }
  })
  parentPort!.postMessage('ready')
}

function kill(why: string): void {
  writeSync(
    2,
    `steward: killing the process: ${why}; what blocks the event loop, or ignores its signal, was not closed\n`,
  )
  if (process.pid === 1) becomeNothing()
  process.kill(process.pid, 'SIGKILL')
}

/**
 * The kernel shields process 1 from every signal of its own namespace, SIGKILL too. What ends it is to become another
 * program, which ends at once, with the exit code that a shell gives what was killed.
 */
function becomeNothing(): void {
  const { execPath } = process
  // Node's own `execve` refuses to work outside the main thread, which is the one that is blocked
  internal<ProcessMethods>('process_methods')?.execve(
    execPath,
    [execPath, '-e', `process.exit(${128 + constants.signals.SIGKILL})`],
    [],
  )
}

interface ProcessMethods {
  execve(file: string, args: readonly string[], env: readonly string[]): void
}

interface SignalHandle {
  onsignal: () => void
  start(signal: number): number
  unref(): void
}

interface SignalBinding {
  Signal: new () => SignalHandle
}

function onSignals(tell: (name: string) => void): void {
  const { Signal } = internal<SignalBinding>('signal_wrap') ?? {}
  if (!Signal) return
  for (const name of STOP_SIGNALS) {
    const handle = new Signal()
    handle.unref()
    handle.onsignal = () => tell(name)
    handle.start(constants.signals[name])
  }
}

/** A binding of Node's own, in a thread with `--expose-internals`. */
function internal<Binding>(name: string): Binding | undefined {
  try {
    const { internalBinding } = createRequire(import.meta.url)('internal/test/binding') as {
      internalBinding: (name: string) => Binding
    }
    return internalBinding(name)
  } catch {
    return undefined // this Node version keeps its bindings to itself; the main thread's word remains
  }
}

if (!isMainThread && (workerData as Partial<Limits> | null)?.watchdog) watch(workerData as Limits)

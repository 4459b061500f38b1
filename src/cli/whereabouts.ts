import { readdirSync, readFileSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import type { World } from '../base/world.ts'
import type { Whereabouts } from '../supervisor/messages.ts'

/** How long a worker may take to say where it is, in milliseconds. */
const LONGEST = 2_000

/** What a process does that does not answer, by the letter that Linux has for its state. */
const STATES: Readonly<Record<string, string>> = {
  R: 'it computes in native code, which cannot be paused',
  S: 'it waits in a call of the system, such as execSync()',
  D: 'it waits in a call of the system, such as readFileSync()',
  T: 'its process is stopped (SIGSTOP)',
}

/** Asks a worker, over a pipe to its watchdog's thread, where its main thread is. Settles within 2 s, and never rejects. */
export async function askWhereabouts(
  pipe: Duplex,
  { pid, world }: { readonly pid: number; readonly world: World },
): Promise<Whereabouts> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const release = world.timer(LONGEST, () => resolve(undefined))
  let text = ''
  const onData = (chunk: Buffer): void => {
    text += chunk.toString()
    if (text.endsWith('\n')) resolve(text)
  }
  pipe.on('data', onData)
  pipe.write('where\n')
  const line = await promise
  release()
  pipe.off('data', onData)
  return line === undefined ? { trouble: troubleOf(pid) } : (JSON.parse(line) as Whereabouts)
}

function troubleOf(pid: number): string {
  const [, state = ''] = /^\d+ \(.*\) (\w)/s.exec(contentOf(`/proc/${pid}/stat`)) ?? []
  return STATES[state] ?? `nothing was answered within ${LONGEST / 1_000} s`
}

/**
 * Does somebody debug a process: is it traced, as by gdb, or has it a thread for its inspector? Other systems than Linux do not tell: what a
 * worker itself says of its inspector is all that is known there.
 */
export function isTraced(pid: number): boolean {
  const [, tracer = '0'] = /^TracerPid:\t(\d+)$/m.exec(contentOf(`/proc/${pid}/status`)) ?? []
  return tracer !== '0' || threadsOf(pid).includes(INSPECTOR)
}

/** What Node calls the thread that listens for debuggers. */
const INSPECTOR = 'InspectorIo'

function threadsOf(pid: number): string[] {
  const folder = `/proc/${pid}/task`
  return namesIn(folder).map((thread) => contentOf(`${folder}/${thread}/comm`).trim())
}

// A process may end between two looks at it

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

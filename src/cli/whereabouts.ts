import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
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
 * Does somebody debug a process: is it traced, as by gdb, or is its inspector open on this port? Other systems than Linux do not tell: what a
 * worker itself says of its inspector is all that is known there.
 */
export function isTraced(pid: number, inspector: number): boolean {
  const [, tracer = '0'] = /^TracerPid:\t(\d+)$/m.exec(contentOf(`/proc/${pid}/status`)) ?? []
  return tracer !== '0' || listensOn(pid, inspector)
}

function listensOn(pid: number, port: number): boolean {
  const place = `:${port.toString(16).toUpperCase().padStart(4, '0')} `
  const rows = ['tcp', 'tcp6'].flatMap((kind) => contentOf(`/proc/${pid}/net/${kind}`).split('\n'))
  const sockets = rows.flatMap((row) => {
    const [, local = '', , state, , , , , , inode] = row.trim().split(/\s+/)
    return state === LISTEN && `${local} `.endsWith(place) ? [`socket:[${inode}]`] : []
  })
  return sockets.length > 0 && descriptorsOf(pid).some((one) => sockets.includes(one))
}

/** The state of a socket that listens, in the kernel's tables. */
const LISTEN = '0A'

function descriptorsOf(pid: number): string[] {
  return namesIn(`/proc/${pid}/fd`).map((name) => linkAt(`/proc/${pid}/fd/${name}`))
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

function linkAt(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

import { readdirSync, readFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import type { Emit, ServiceEvent } from '../base/events.ts'

/**
 * For process 1, which inherits every process whose parent has ended: Node collects its own children only, so the others
 * stay as zombies. Says so once, at the stop, when there are any.
 */
export function warnOfOrphans(emit: Emit): (event: ServiceEvent) => Promise<void> | void {
  return (event) => {
    if (event.type === 'service.stopping') return warn(emit)
  }
}

async function warn(emit: Emit): Promise<void> {
  const found = zombies()
  if (found.size === 0) return
  // A child of our own that has just ended is collected within a turn of the event loop
  for (let turns = 0; turns < 3; turns++) await turn()
  const still = zombies()
  const names = [...found].flatMap(([pid, name]) => (still.has(pid) ? [name] : []))
  if (names.length === 0) return
  const what = names.length === 1 ? 'a process has' : `${names.length} processes have`
  emit({
    type: 'warning',
    message: `${what} ended and stayed as zombies (${listed(names)}): their parents ended before them, and as process 1 Node collects its own children only; run the container with --init`,
  })
}

/** The names of processes whose parent is process 1 and which nobody has collected, by their ids. */
function zombies(): Map<string, string> {
  const found = new Map<string, string>()
  for (const pid of processes()) {
    // id (name) state parent …, where the name may have parentheses of its own
    const [, name, state, parent] = /^\d+ \((.*)\) (\S) (\d+)/s.exec(statusOf(pid)) ?? []
    if (name !== undefined && state === 'Z' && parent === '1') found.set(pid, name)
  }
  return found
}

function processes(): string[] {
  try {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  } catch {
    return [] // no /proc here: nothing can be known
  }
}

function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    return '' // it has gone meanwhile
  }
}

function listed(names: readonly string[]): string {
  const kinds = [...new Set(names)]
  return kinds.length > 5 ? `${kinds.slice(0, 5).join(', ')}, …` : kinds.join(', ')
}

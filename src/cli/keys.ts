import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { ReadStream } from 'node:tty'
import type { Release } from '../base/world.ts'
import { onSignal } from '../service/signals.ts'

/** What keys do, by the character that they send. */
export type Keys = Readonly<Record<string, () => void>>

/** Characters that a terminal in raw mode hands on, and what they would have been. */
const SIGNALS: Readonly<Record<string, NodeJS.Signals>> = {
  '\u0003': 'SIGINT',
  '\u001A': 'SIGTSTP',
  '\u001C': 'SIGQUIT',
}

/** Whoever has started this process hears of them, too. */
const WHOLE_GROUP = 0

/**
 * Listens to single keys of a terminal, until released. Ctrl-C, Ctrl-Z and Ctrl-\ stay what they are, and whenever the process does not
 * have the terminal, or ends, the terminal is as it was. A process in the background does not touch it.
 */
export function listenToKeys(input: ReadStream, keys: Keys): Release {
  const onData = (data: Buffer): void => {
    for (const character of data.toString('latin1')) press(character)
  }
  const press = (character: string): void => {
    const signal = SIGNALS[character]
    if (signal === undefined) return keys[character]?.()
    // It ends the listening by itself; the others end or suspend the process, which cannot do it any more
    if (signal !== 'SIGINT') give()
    process.kill(WHOLE_GROUP, signal)
    // Where no shell would continue it, the system suspends nobody
    if (signal === 'SIGTSTP') setImmediate(take)
  }
  const take = (): void => {
    if (input.isRaw || !isInForeground()) return
    input.setRawMode(true)
    input.on('data', onData).resume()
  }
  const give = (): void => {
    input.off('data', onData).pause()
    if (input.isRaw) input.setRawMode(false)
  }
  const unlisten = onSignal('SIGCONT', take)
  process.once('exit', give)
  take()
  return () => {
    unlisten()
    process.off('exit', give)
    give()
  }
}

/** Does the terminal belong to this process's group? Otherwise touching it would stop the whole of it. */
function isInForeground(): boolean {
  try {
    const [pgrp, terminal] = groups()
    return pgrp !== undefined && pgrp === terminal
  } catch {
    return false
  }
}

/** The process's own group, and the one that has its terminal. */
function groups(): (string | undefined)[] {
  if (process.platform === 'linux') {
    const [, , pgrp, , , terminal] = readFileSync('/proc/self/stat', 'utf8').replace(/^.*\) /s, '').split(' ') // oxfmt-ignore
    return [pgrp, terminal]
  }
  const asked = ['-o', 'pgid=,tpgid=', '-p', String(process.pid)]
  return execFileSync('ps', asked, { encoding: 'utf8' }).trim().split(/\s+/)
}

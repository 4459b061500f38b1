import { mkdtempSync, readFileSync, rmSync, watch, writeFileSync, type FSWatcher } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { within } from './within.ts'

/** Writes what it is told, one line for each time, to the file that NOTIFY_SOCKET names: its environment has nothing else. */
const TELLS = `printf '%s|' "$@" >> "$NOTIFY_SOCKET"\necho >> "$NOTIFY_SOCKET"`

/** A `systemd-notify` that is none, in a folder that is gone at the end of the block. */
export class FakeSystemd implements Disposable {
  /** What NOTIFY_SOCKET is set to. */
  readonly socket: string
  /** What PATH is set to: the fake first. */
  readonly path: string
  readonly #folder: string
  readonly #watcher: FSWatcher
  readonly #waiting = new Set<() => void>()

  /** @param after what the program does, in shell, once it has been told */
  constructor(after = '') {
    this.#folder = mkdtempSync(join(tmpdir(), 'steward-test-'))
    this.socket = join(this.#folder, 'told')
    this.path = [this.#folder, process.env['PATH']].join(delimiter)
    writeFileSync(this.socket, '')
    const program = ['#!/bin/sh', TELLS, after, ''].join('\n')
    writeFileSync(join(this.#folder, 'systemd-notify'), program, { mode: 0o755 })
    this.#watcher = watch(this.#folder, () => {
      for (const look of this.#waiting) look()
    })
  }

  /** What it was told, each time its words. */
  get told(): string[][] {
    const lines = readFileSync(this.socket, 'utf8').split('\n').slice(0, -1)
    return lines.map((line) => line.split('|').slice(0, -1))
  }

  /** What it was told, once that is so many times. */
  times(count: number): Promise<string[][]> {
    const { promise, resolve } = Promise.withResolvers<string[][]>()
    const look = (): void => {
      if (this.told.length < count) return
      this.#waiting.delete(look)
      resolve(this.told)
    }
    this.#waiting.add(look)
    look()
    return within(10_000, promise, `${count} notifications`).catch((error: unknown) => {
      throw new Error(`${String(error)}; told: ${JSON.stringify(this.told)}`)
    })
  }

  [Symbol.dispose](): void {
    this.#watcher.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

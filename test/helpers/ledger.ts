import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A line that a program wrote which notes, or one of a test, about a process that is about to be killed, or that was. */
export interface Line {
  readonly what: string
  readonly token: string
  readonly pid: number
}

/** All of them. */
export function ledgerIn(folder: string): Line[] {
  const text = readFileSync(join(folder, 'ledger'), 'utf8')
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

/** Writes down what a test does to a process. */
export function write(folder: string, what: 'killing' | 'killed', pid: number): void {
  appendFileSync(join(folder, 'ledger'), `${JSON.stringify({ what, token: '', pid })}\n`)
}

/** Everything in a ledger that must not be. */
export function violations(lines: readonly Line[]): string[] {
  const wrong: string[] = []
  const waiting = new Set<string>()
  const settling = new Map<string, number>()
  const killing = new Set<number>()
  const killed = new Set<number>()
  /** By process: what must be settled before it opens, the notes of all who were dead when it started. */
  const due = new Map<number, Set<string>>()
  const settledBy = new Set<string>()
  const ownerOf = (token: string): number => Number(token.split('-')[0])
  for (const { what, token, pid } of lines) {
    if (what === 'noted') waiting.add(token)
    if (what === 'closed' || what === 'recovered') waiting.delete(token)
    if (what === 'killing') killing.add(pid)
    if (what === 'killed') {
      killed.add(pid)
      for (const [one, by] of settling) if (by === pid) settling.delete(one)
    }
    if (what === 'started') {
      due.set(pid, new Set([...waiting].filter((one) => killed.has(ownerOf(one)))))
    }
    if (what === 'opening') {
      // Where a process takes several things, the line says which one
      const ours = [...(due.get(pid) ?? [])].filter((one) => one.endsWith(token))
      for (const one of ours) if (waiting.has(one)) wrong.push(`${one} not settled`)
      if (token === '') due.delete(pid)
    }
    if (what === 'recovering') {
      const owner = ownerOf(token)
      if (owner !== pid && !killing.has(owner)) wrong.push(`${token} settled while its owner lives`)
      const other = settling.get(token)
      const isTaken = other !== undefined && !killing.has(other)
      if (isTaken) wrong.push(`${token} settled by two at a time`)
      if (settledBy.has(`${token} ${pid}`)) wrong.push(`${token} settled twice by one`)
      settling.set(token, pid)
    }
    if (what === 'recovered') {
      settling.delete(token)
      settledBy.add(`${token} ${pid}`)
    }
    if (/^(warning|error)/.test(what)) wrong.push(what)
  }
  return [...wrong, ...[...waiting].map((one) => `${one} never settled`)]
}

/** How many lines say that. */
export function count(lines: readonly Line[], what: string): number {
  return lines.filter((line) => line.what === what).length
}

import type { Emit } from '../base/events.ts'
import type { World } from '../base/world.ts'

/** How long the event loop has to end by itself after everything has closed, in milliseconds. */
const LOOP_ENDS = 100

/** How long output has to be flushed, in milliseconds. */
const FLUSH = 1_000

/** A process is left once, whoever asks. */
let isLeaving = false

/**
 * Ends the process with a code, unless a worse one is set: the event loop gets 100 ms to end by itself; then what holds it is
 * told as `process.held`, output is flushed, at most 1 s, and the process exits with the same code.
 */
export function leave(code: number, { emit, world }: { emit: Emit; world: World }): void {
  process.exitCode ||= code
  if (isLeaving) return
  isLeaving = true
  // Where Node ends by itself, it gives up its signal handlers first, and a second SIGTERM would end it with no exit code
  process.on('beforeExit', () => {
    if (heldBy().length === 0) process.exit()
  })
  world.timer(LOOP_ENDS, () => end(emit, world), 'idle')
}

function end(emit: Emit, world: World): void {
  const by = heldBy()
  if (by.length > 0) emit({ type: 'process.held', by })
  const exit = (): void => process.exit()
  world.timer(FLUSH, exit)
  void Promise.all([flushed(process.stdout), flushed(process.stderr)]).then(exit)
}

/** What keeps the event loop alive: kinds, with addresses where there are any. */
function heldBy(): string[] {
  const kinds = process.getActiveResourcesInfo().filter((kind) => !OURS.has(kind))
  const counts = Map.groupBy(kinds, (kind) => kind)
  return [...counts].map(([kind, { length }]) => {
    const where = PLACES[kind]?.() ?? []
    const shown = where.length > 0 ? ` (${where.join(', ')})` : ''
    return `${length > 1 ? `${length} × ` : ''}${kind}${shown}`
  })
}

/** Standard output and error, as a terminal or a pipe, and what is written to them: that is flushed. */
const OURS = new Set(['TTYWrap', 'PipeWrap', 'WriteWrap'])

/** Where some kinds come from. */
const PLACES: Readonly<Record<string, () => string[]>> = {
  TCPServerWrap: () => handles().flatMap(listeningOn),
  TCPSocketWrap: () => handles().flatMap(connectedTo),
  ProcessWrap: () => handles().flatMap(running),
}

interface Handle {
  readonly remoteAddress?: string
  readonly remotePort?: number
  readonly listening?: boolean
  readonly spawnfile?: string
  readonly pid?: number
  address?(): { address?: string; port?: number } | string | null
}

/** Node has no public list of the open handles; without it the kinds alone are told. */
function handles(): Handle[] {
  const { _getActiveHandles: list } = process as unknown as { _getActiveHandles?: () => Handle[] }
  return list?.call(process) ?? []
}

function listeningOn(handle: Handle): string[] {
  const address = handle.listening ? handle.address?.() : undefined
  const isPlace = typeof address === 'object' && address !== null
  return isPlace ? [`listening on ${address.address}:${address.port}`] : []
}

function connectedTo({ remoteAddress, remotePort }: Handle): string[] {
  return remotePort === undefined ? [] : [`to ${remoteAddress}:${remotePort}`]
}

function running({ spawnfile, pid }: Handle): string[] {
  return spawnfile === undefined ? [] : [`${spawnfile}, process ${pid}`]
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || !stream.writable) return resolve()
    stream.write('', () => resolve())
  })
}

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
export function heldBy(): string[] {
  const kinds = process.getActiveResourcesInfo().filter((kind) => !OURS.has(kind))
  const sockets = describeSockets()
  const counts = Map.groupBy(kinds, (kind) => kind)
  return [...counts].map(([kind, { length }]) => {
    const where = SOCKETS.has(kind) && sockets.length > 0 ? ` (${sockets.join(', ')})` : ''
    return `${length > 1 ? `${length} × ` : ''}${kind}${where}`
  })
}

/** Standard output and error, as a terminal or a pipe. */
const OURS = new Set(['TTYWrap', 'PipeWrap'])
const SOCKETS = new Set(['TCPSocketWrap', 'TCPServerWrap'])

interface Handle {
  readonly remoteAddress?: string
  readonly remotePort?: number
  readonly listening?: boolean
  address?(): { address?: string; port?: number } | string | null
}

/** Node has no public list of the open handles; without it the kinds alone are told. */
function describeSockets(): string[] {
  const { _getActiveHandles: list } = process as unknown as { _getActiveHandles?: () => Handle[] }
  const handles = list?.call(process) ?? []
  return handles.flatMap((handle) => {
    if (handle.remotePort !== undefined) return [`to ${handle.remoteAddress}:${handle.remotePort}`]
    const address = handle.listening ? handle.address?.() : undefined
    return typeof address === 'object' && address
      ? [`listening on ${address.address}:${address.port}`]
      : []
  })
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || !stream.writable) return resolve()
    stream.write('', () => resolve())
  })
}

import { describe, StewardError } from '../base/errors.ts'

/** Which messages are compressed. */
export interface Compression {
  /** Messages of fewer bytes go as they are. @default 1024 */
  threshold?: number
}

/** As many as `ws` has: what is shorter gets hardly smaller, and costs a turn of a thread. */
const THRESHOLD = 1_024

/**
 * What a compressor may hold of what it has seen: 4 KiB of history and as much of a table, in the place of 32 KiB and 128. Messages are
 * of some kilobytes, and a connection keeps its compressor once it has sent one.
 */
const LEAN = { windowBits: 12, memLevel: 5, chunkSize: 4_096 }

/** The extension of a handshake (RFC 7692), for `ws`. Each message is compressed by itself: what has gone before is not kept. */
export interface Deflate {
  readonly threshold: number
  readonly serverNoContextTakeover: true
  readonly clientNoContextTakeover: true
  readonly serverMaxWindowBits: number
  readonly zlibDeflateOptions: { readonly memLevel: number; readonly chunkSize: number }
}

/** What `ws` is to be told of it; `undefined` where messages are not compressed. @throws `ERR_BAD_OPTION` */
export function deflateOf(compression: boolean | Compression = false): Deflate | undefined {
  const threshold = thresholdOf(compression)
  if (threshold === undefined) return undefined
  const { windowBits: serverMaxWindowBits, ...zlibDeflateOptions } = LEAN
  return {
    threshold,
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    serverMaxWindowBits,
    zlibDeflateOptions,
  }
}

function thresholdOf(compression: unknown): number | undefined {
  if (compression === false) return undefined
  if (compression === true) return THRESHOLD
  if (typeof compression !== 'object' || compression === null) {
    throw badOption(
      `Cannot use ${describe(compression)} as "compression": pass true, or { threshold: 1024 }`,
    )
  }
  const { threshold = THRESHOLD, ...others } = compression as { threshold?: unknown }
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) {
    throw badOption(
      `Cannot compress with the option "${unknown}": there is no such option, known is threshold`,
    )
  }
  if (Number.isInteger(threshold) && (threshold as number) >= 0) return threshold as number
  throw badOption(`Cannot use ${describe(threshold)} as "threshold": pass a number of bytes`)
}

function badOption(message: string): StewardError {
  return new StewardError('ERR_BAD_OPTION', message)
}

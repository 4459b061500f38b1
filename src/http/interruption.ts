import { StewardError } from '../base/errors.ts'

/** Why a signal is aborted: the client has gone, or the grace of a stop is spent. */
export type Interruption = 'gone' | 'spent'

/** What reading a request, or writing a response, fails with when the client has gone. */
const GONE = new Set([
  'ECONNRESET',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_HTTP2_SESSION_ERROR',
])

/** Is it what Node's streams tell when the other side has gone? */
export function isGone(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' && GONE.has(code)
}

/** What a signal is aborted with. */
export function reasonOf(name: string, why: Interruption): StewardError {
  return why === 'gone'
    ? new StewardError('ERR_CLIENT_GONE', `Cannot finish ${name}: its client has gone`)
    : new StewardError('ERR_GRACE_SPENT', `Cannot finish ${name}: the grace of the stop is spent`)
}

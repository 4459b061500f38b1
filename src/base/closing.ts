import { describe, StewardError } from './errors.ts'

/** The most that a Close frame holds of a reason, in bytes (RFC 6455 §5.5). */
export const LONGEST_REASON = 123

/**
 * What an application may close with: 1000 to 1003, 1007 to 1014, and the 3000s and 4000s (RFC 6455 §7.4).
 *
 * @throws `ERR_BAD_OPTION`
 */
export function checkClosing(code: number, reason: string): void {
  const isOfProtocol = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014)
  if (!Number.isInteger(code) || !(isOfProtocol || (code >= 3000 && code <= 4999))) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot close with ${describe(code)} as the code: pass 1000 to 1003, 1007 to 1014, or one of your own from 3000 to 4999`,
    )
  }
  if (typeof reason === 'string' && Buffer.byteLength(reason) <= LONGEST_REASON) return
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot close with ${describe(reason)} as the reason: pass a text of at most ${LONGEST_REASON} bytes`,
  )
}

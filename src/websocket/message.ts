import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describeError, StewardError } from '../base/errors.ts'
import { LONGEST_REASON } from '../base/closing.ts'
import type { Message } from './inbox.ts'

/** A message of a client that cannot be taken: `code` is `ERR_BAD_MESSAGE`. */
export class BadMessage extends StewardError {
  /** The client is at fault. */
  readonly status = 400
  /** What the connection is closed with, when nobody catches this (RFC 6455 §7.4.1). */
  readonly closeCode: number
  /** What the client is told with it: nothing of what it sent. */
  readonly closeReason: string

  constructor(why: string, closing: { code: number; reason: string; cause?: unknown }) {
    const details = closing.cause === undefined ? {} : { cause: closing.cause }
    super('ERR_BAD_MESSAGE', `Cannot take a message: ${why}`, details)
    this.closeCode = closing.code
    this.closeReason = closing.reason
  }
}

/** What a schema makes of a JSON message. @throws `ERR_BAD_MESSAGE` when it is no JSON, or does not fit */
export async function read<Schema extends StandardSchemaV1>(
  schema: Schema,
  message: Message,
): Promise<StandardSchemaV1.InferOutput<Schema>> {
  const result = await schema['~standard'].validate(parse(message))
  if (!result.issues) return result.value
  const issues = result.issues.map(inWords).join('; ')
  throw new BadMessage(`it does not fit its schema: ${issues}`, {
    code: 1007,
    reason: shortened(`The message does not fit: ${issues}`),
  })
}

function parse(message: Message): unknown {
  try {
    if (typeof message !== 'string') throw new TypeError('it is binary')
    return JSON.parse(message)
  } catch (cause) {
    // What the parser says quotes the message
    const why = typeof message === 'string' ? 'it is no JSON' : 'it is binary, not JSON'
    throw new BadMessage(why, { code: 1007, reason: 'The message is no JSON', cause })
  }
}

function inWords({ message, path = [] }: StandardSchemaV1.Issue): string {
  const keys = path.map((part) => String(typeof part === 'object' ? part.key : part))
  return keys.length > 0 ? `${keys.join('.')}: ${message}` : message
}

/** As much of a text as a Close frame holds. */
function shortened(text: string): string {
  let short = text
  while (Buffer.byteLength(short) > LONGEST_REASON) short = short.slice(0, -1)
  return short.isWellFormed() ? short : short.slice(0, -1)
}

/** What `ws` says of a frame that it cannot take. */
const FRAMES: Readonly<Record<string, [code: number, why: string]>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: [1009, 'it is larger than "maxPayload"'],
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: [1009, 'it is larger than "maxPayload"'],
  WS_ERR_TOO_MANY_BUFFERED_PARTS: [1008, 'it has come in too many parts'],
  WS_ERR_INVALID_UTF8: [1007, 'its text is no UTF-8'],
}

/** The error of a frame that was refused, closed with the code of that; `undefined` for what is no fault of the client's. */
export function badFrame(error: NodeJS.ErrnoException): BadMessage | undefined {
  const { code: found = '' } = error
  if (found.startsWith('Z_')) {
    return new BadMessage('it cannot be decompressed', { code: 1007, reason: '', cause: error })
  }
  if (!found.startsWith('WS_ERR_')) return undefined
  const [code, why] = FRAMES[found] ?? [1002, `it breaks the protocol: ${describeError(error)}`]
  return new BadMessage(why, { code, reason: '', cause: error })
}

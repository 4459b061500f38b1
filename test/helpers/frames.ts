/** A frame of HTTP/2 as it came over the wire (RFC 9113 §4.1). */
export interface Frame {
  readonly type: FrameType
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export type FrameType = keyof typeof TYPES

const TYPES = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const

const NAMES = Object.keys(TYPES) as FrameType[]

export const END_STREAM = 1
export const END_HEADERS = 4

/** What a client of HTTP/2 begins with, its settings included. */
export const PREFACE: string = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

/** The whole frames at the beginning of `bytes`, and what is left of it. */
export function framesOf(bytes: Buffer): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = []
  let at = 0
  while (bytes.length >= at + 9 && bytes.length >= at + 9 + bytes.readUIntBE(at, 3)) {
    const end = at + 9 + bytes.readUIntBE(at, 3)
    frames.push({
      type: NAMES[bytes[at + 3]!]!,
      flags: bytes[at + 4]!,
      stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
      payload: bytes.subarray(at + 9, end),
    })
    at = end
  }
  return { frames, rest: bytes.subarray(at) }
}

/** The bytes of a frame. */
export function frame(
  type: FrameType,
  { stream = 0, flags = 0 }: { stream?: number; flags?: number },
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = TYPES[type]
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A request's head, in the plainest form of HPACK (RFC 7541 §6.2.2). */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(headers).flatMap(([name, value]) => [
    Buffer.of(0),
    text(name),
    text(value),
  ])
  return Buffer.concat(parts)
}

function text(value: string): Buffer {
  return Buffer.concat([Buffer.of(value.length), Buffer.from(value, 'latin1')])
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4)
  return bytes
}

/** What a GOAWAY frame says (RFC 9113 §6.8). */
export function goAwayOf({ payload }: Frame): { last: number; code: number } {
  return { last: payload.readUInt32BE(0) & 0x7fffffff, code: payload.readUInt32BE(4) }
}

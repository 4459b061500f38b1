import { milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { Limits } from '../http/limits.ts'
import type { RefuseFrom } from '../http/traffic.ts'

/** What clients may take, so that a slow or a hostile one takes nothing from the others. */
export interface LimitOptions {
  /** How long the head of a request may take to arrive. @default '20s' */
  headers?: Duration
  /** How long a whole request may take to arrive, its body included; `'0s'`: as long as it likes. @default '5m' */
  request?: Duration
  /** How long a client may leave a response unread; `'0s'`: as long as it likes. @default '1m' */
  send?: Duration
  /** How large the head of a request may be, in bytes. @default 16_384 */
  headerSize?: number
  /** How many connections may be open at a time; what comes beyond is closed at once. @default as many as the machine holds */
  connections?: number
  /** How many connections the kernel queues until they are accepted; no more than its own limit. @default 2048 */
  backlog?: number
}

/** Checks and converts them. @throws `ERR_BAD_OPTION` */
export function limitsOf({
  headers,
  request,
  send,
  headerSize,
  connections,
  backlog,
  keepAlive,
  ...others
}: LimitOptions & { keepAlive?: Duration | undefined }): Partial<Limits> {
  // oxfmt-ignore
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) {
    throw bad(
      `"${unknown}" in "limits"`,
      'known are headers, request, send, headerSize, connections, backlog',
    )
  }
  const limits: Partial<Limits> = {}
  if (keepAlive !== undefined) limits.keepAlive = milliseconds(keepAlive, 'keepAlive')
  if (headers !== undefined) limits.headers = atLeastOne(headers, 'limits.headers')
  if (request !== undefined) limits.request = milliseconds(request, 'limits.request')
  if (send !== undefined) limits.send = milliseconds(send, 'limits.send')
  if (headerSize !== undefined) limits.headerSize = whole(headerSize, 'limits.headerSize')
  if (connections !== undefined) limits.connections = whole(connections, 'limits.connections')
  if (backlog !== undefined) limits.backlog = whole(backlog, 'limits.backlog')
  return limits
}

/** @throws `ERR_BAD_OPTION` for what is no stage */
export function refuseOf(refuse: unknown): RefuseFrom | undefined {
  if (refuse === undefined || refuse === 'stopping' || refuse === 'draining') return refuse
  throw bad(`${describe(refuse)} as "refuse"`, "name a stage of the stop: 'stopping' or 'draining'")
}

/** Without a limit, a client that sends nothing would hold its connection for ever. */
function atLeastOne(duration: Duration, name: string): number {
  const ms = milliseconds(duration, name)
  if (ms >= 1) return ms
  throw bad(`${JSON.stringify(duration)} as "${name}"`, "it must end some time: write '20s'")
}

function whole(value: number, name: string): number {
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw bad(`${describe(value)} as "${name}"`, 'give a whole number of at least 1')
}

function bad(what: string, advice: string): StewardError {
  return new StewardError('ERR_BAD_OPTION', `Cannot use ${what}: ${advice}`)
}

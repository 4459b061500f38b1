import { ServerResponse } from 'node:http'
import { exchangeOf } from './exchange.ts'
import { leavesLong } from './unread.ts'

/** The one place where Node renders a head: `writeHead`, implicit heads and every framework come through it. */
interface Rendering {
  _storeHeader(firstLine: string, headers: unknown): void
}

const { _storeHeader } = ServerResponse.prototype as unknown as Rendering

/**
 * From now on, the head of this response says what becomes of the connection, whatever the app writes: `Connection: close` when it is the last one
 * that a stop lets through, when idle connections are not kept, or when its handler leaves a long body unread; and never while a request waits behind it, whose handler runs, and
 * whose answer Node would drop. It is decided when the head is rendered, because another request may come in until then.
 */
export function decideAtHead(response: ServerResponse): void {
  // Not writeHead: frameworks and held responses replace that one
  ;(response as unknown as Rendering)._storeHeader = storeHead
}

function storeHead(this: ServerResponse, firstLine: string, headers: unknown): void {
  _storeHeader.call(this as unknown as Rendering, firstLine, decided(this, headers))
}

function decided(response: ServerResponse, headers: unknown): unknown {
  const exchange = exchangeOf(response.req)
  if (!exchange) return closing(response, headers)
  const { connection, request } = exchange
  const { stage, keepsIdle } = connection.traffic
  if (!connection.isLast(exchange)) return keeping(response, headers)
  const ends = stage !== 'serving' || !keepsIdle || leavesLong(request)
  return ends ? closing(response, headers) : headers
}

/** The headers of a response that is not the last one; a client of HTTP/1.0 is not asked to keep what it does not know of. */
function keeping(response: ServerResponse, headers: unknown): unknown {
  if (!response.shouldKeepAlive || !saysClose(response, headers)) return headers
  if (response.getHeaderNames().length > 0) {
    response.setHeader('Connection', 'keep-alive')
    return headers
  }
  return without(headers)
}

function saysClose(response: ServerResponse, headers: unknown): boolean {
  const given = response.getHeader('connection') ?? connectionIn(headers)
  return /\bclose\b/i.test(String(given))
}

function connectionIn(headers: unknown): unknown {
  if (!Array.isArray(headers)) {
    const found = Object.entries(headers ?? {}).find(([name]) => isConnection(name))
    return found?.[1]
  }
  const pairs: unknown[] = Array.isArray(headers[0]) ? headers.flat() : headers
  return pairs[pairs.findIndex((name, index) => index % 2 === 0 && isConnection(name)) + 1]
}

/** The headers of a last response, whatever the app wrote under `Connection`. */
function closing(response: ServerResponse, headers: unknown): unknown {
  response.shouldKeepAlive = false
  if (response.getHeaderNames().length > 0) {
    // Then `headers` is the response's own map, which this changes
    response.setHeader('Connection', 'close')
    return headers
  }
  return without(headers)
}

function without(headers: unknown): unknown {
  if (Array.isArray(headers)) return withoutConnection(headers)
  return typeof headers === 'object' && headers !== null ? omitConnection(headers) : headers
}

/** From `[name, value, name, value]` or `[[name, value], [name, value]]`. */
function withoutConnection(headers: unknown[]): unknown[] {
  if (Array.isArray(headers[0])) {
    return headers.filter((pair) => !isConnection((pair as unknown[])[0]))
  }
  return headers.filter((_, index) => !isConnection(headers[index - (index % 2)]))
}

function omitConnection(headers: object): object {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !isConnection(name)))
}

function isConnection(name: unknown): boolean {
  return typeof name === 'string' && name.length === 10 && name.toLowerCase() === 'connection'
}

import { ServerResponse, STATUS_CODES } from 'node:http'
import type { Exchange } from './exchange.ts'
import { clearHeaders } from './head.ts'
import { dropHold } from './hold.ts'

/** The real ones, whatever a framework has wrapped around those of a response. */
const { writeHead, end, destroy } = ServerResponse.prototype as {
  writeHead(status: number, headers: Readonly<Record<string, string>>): ServerResponse
  end(body: string): ServerResponse
  destroy(): ServerResponse
}

const RETRY_AFTER = { 'Retry-After': '1' }

/**
 * Counts and names an exchange as cut, and answers it 503 in the app's place; `false` when a head was sent already, and its
 * connection has to be cut.
 */
export function refuse(exchange: Exchange): boolean {
  const { request, path, age, connection } = exchange
  const first = exchange.cut()
  const answered = answerFor(exchange, 503, RETRY_AFTER)
  const method = request.method ?? ''
  if (first) connection.traffic.emit({ type: 'request.cut', method, url: path, age, answered })
  return answered
}

/**
 * Answers in the app's place, in plain text, if no head was sent yet, and detaches the response from the app: its later
 * writes do nothing and throw nothing. Returns `false`, and does nothing, when a head was sent.
 */
export function answerFor(
  exchange: Exchange,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): boolean {
  const { response } = exchange
  dropHold(response)
  if (response.headersSent || response.destroyed) return false
  clearHeaders(response)
  // The app's own message belongs to its own status, and may be what could not be sent
  response.statusMessage = ''
  const body = `${STATUS_CODES[status]}\n`
  const entity = {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(body.length),
  }
  writeHead.call(response, status, { ...headers, ...entity })
  end.call(response, body)
  detach(response)
  return true
}

/** What a detached response answers to its app. */
const DETACHED = {
  writeHead: returnItself,
  setHeader: returnItself,
  setHeaders: returnItself,
  appendHeader: returnItself,
  removeHeader: ignore,
  flushHeaders: ignore,
  addTrailers: ignore,
  writeContinue: ignore,
  writeProcessing: ignore,
  writeEarlyHints: ignore,
  writeInformation: ignore,
  write(...args: unknown[]): boolean {
    callBack(args)
    return true
  },
  end(this: ServerResponse, ...args: unknown[]): ServerResponse {
    callBack(args)
    return this
  },
  destroy(this: ServerResponse): ServerResponse {
    // Node itself destroys the responses of a connection that is gone
    return this.socket && !this.socket.destroyed ? this : destroy.call(this)
  },
}

function detach(response: ServerResponse): void {
  Object.assign(response, DETACHED)
  // Middlewares that kept the original methods make Node tell of a write after the end
  response.on('error', ignore)
}

function returnItself(this: ServerResponse): ServerResponse {
  return this
}

function ignore(): void {}

function callBack(args: readonly unknown[]): void {
  const callback = args.findLast((arg) => typeof arg === 'function')
  if (callback) process.nextTick(callback)
}

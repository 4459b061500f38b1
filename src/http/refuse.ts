import { ServerResponse, STATUS_CODES } from 'node:http'
import type { Exchange } from './exchange.ts'
import { clearHeaders } from './head.ts'
import { dropHold } from './hold.ts'
import { answerStream, streamOf } from './http2.ts'

/** The real ones, whatever a framework has wrapped around those of a response. */
const { writeHead, end, destroy } = ServerResponse.prototype as {
  writeHead(status: number, headers: Headers): ServerResponse
  end(body: string): ServerResponse
  destroy(): ServerResponse
}

type Headers = Readonly<Record<string, string>>

const RETRY_AFTER = { 'Retry-After': '1' }

/**
 * Counts and names an exchange as cut, and answers it 503 in the app's place; `false` when a head was sent already, and it
 * has to be cut.
 */
export function refuse(exchange: Exchange): boolean {
  const { phase } = exchange
  const first = exchange.cut()
  const answered = answerFor(exchange, 503, RETRY_AFTER)
  if (first) emitCut(exchange, { phase, answered })
  return answered
}

/** Counts and names an exchange as cut that gets no answer: its connection is being cut. */
export function tellCut(exchange: Exchange): void {
  const { phase } = exchange
  if (exchange.cut()) emitCut(exchange, { phase, answered: false })
}

function emitCut(
  { request, path, age, bytes, connection }: Exchange,
  { phase, answered }: { phase: Exchange['phase']; answered: boolean },
): void {
  const method = request.method ?? ''
  const cut = { method, url: path, age, phase, answered, bytes }
  connection.traffic.emit({ type: 'request.cut', ...cut })
}

/** Answers a request 503 that came while the service stops, in the place of handing it to its handler. */
export function turnAway(exchange: Exchange): void {
  exchange.turnedAway = true
  exchange.connection.traffic.served.refused++
  answerFor(exchange, 503, RETRY_AFTER)
  exchange.handlerSettled()
}

/**
 * Answers in the app's place, in plain text, if no head was sent yet, and detaches the response from the app: its later
 * writes do nothing and throw nothing. Returns `false`, and does nothing, when a head was sent.
 */
export function answerFor(exchange: Exchange, status: number, headers: Headers = {}): boolean {
  const { response } = exchange
  dropHold(response)
  if (exchange.connection.upgraded) return false
  const stream = streamOf(response)
  const isOpen = stream ? !stream.destroyed && !stream.closed : !response.destroyed
  if (response.headersSent || !isOpen) return false
  const body = `${STATUS_CODES[status]}\n`
  const whole = {
    ...headers,
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(body.length),
  }
  if (stream) answerStream(stream, status, { headers: whole, body })
  else answer(response, status, { headers: whole, body })
  detach(response)
  return true
}

function answer(
  response: ServerResponse,
  status: number,
  { headers, body }: { headers: Headers; body: string },
): void {
  clearHeaders(response)
  // The app's own message belongs to its own status, and may be what could not be sent
  response.statusMessage = ''
  writeHead.call(response, status, headers)
  end.call(response, body)
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
    if (streamOf(this) || (this.socket && !this.socket.destroyed)) return this
    return destroy.call(this)
  },
}

/** From now on what the app writes to it goes nowhere, and throws nothing. */
export function detach(response: ServerResponse): void {
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

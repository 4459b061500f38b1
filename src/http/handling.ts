import type { IncomingMessage, ServerResponse } from 'node:http'
import { isStewardError } from '../base/errors.ts'
import type { Exchange } from './exchange.ts'
import { breakStream, streamOf } from './http2.ts'
import { answerFor } from './refuse.ts'

/** Answers a request. When it returns a promise, the handler is out until that has settled. */
export type Handler = (
  request: IncomingMessage,
  response: ServerResponse,
  exchange: Exchange,
) => unknown

/**
 * Runs the handler of an exchange. What it throws, or rejects with, becomes a 500 if no head was sent, otherwise the end of
 * the connection; and an event `request.failed`. Never throws.
 */
export function handle(exchange: Exchange, handler: Handler): void {
  let result: unknown
  try {
    result = handler(exchange.request, exchange.response, exchange)
  } catch (error) {
    failed(exchange, error)
    return
  }
  if (isThenable(result)) settle(exchange, result)
  else exchange.handlerSettled()
}

function settle(exchange: Exchange, result: PromiseLike<unknown>): void {
  const promise = result instanceof Promise ? result : Promise.resolve(result)
  promise.then(
    () => exchange.handlerSettled(),
    (error: unknown) => failed(exchange, error),
  )
}

function failed(exchange: Exchange, error: unknown): void {
  exchange.fail(error)
  exchange.tellFailed(error, isStewardError(error) ? error.path : [])
  try {
    breakOff(exchange)
  } finally {
    exchange.handlerSettled()
  }
}

/** Answers 500 if no head was sent, otherwise ends the response so that it does not look whole. */
export function breakOff(exchange: Exchange): void {
  const { response } = exchange
  // Ended whole before it threw: the client has its answer, or will have it
  if (!answerFor(exchange, 500) && !response.writableEnded) end(response)
}

function end(response: ServerResponse): void {
  const stream = streamOf(response)
  if (stream) breakStream(stream)
  else response.destroy()
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value
}

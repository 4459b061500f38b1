import { STATUS_CODES, type ServerResponse } from 'node:http'
import type { Visit } from './visit.ts'

/**
 * Is it a response in the web's sense? Not `instanceof`: adapters replace the global class, and a proxied answer may come
 * from another one. Nor by its `headers`: asking a light response for them makes them, 6 % of a request's time.
 */
export function isResponse(value: unknown): value is Response {
  if (typeof value !== 'object' || value === null) return false
  const { status, arrayBuffer } = value as Partial<Response>
  return typeof status === 'number' && typeof arrayBuffer === 'function'
}

/** What an error may say about its answer: as Hono's `HTTPException` and our own do, or as those of http-errors. */
interface Answerable {
  readonly getResponse?: () => Response
  readonly status?: unknown
  /** May its message be shown? */
  readonly expose?: unknown
  readonly message?: unknown
}

/** The answer that an error brings with it; `undefined` when it says nothing about that, or nothing that can be used. */
export function answerOf(error: unknown): Response | undefined {
  try {
    const answer = answerIn(error)
    return isResponse(answer) ? answer : undefined
  } catch {
    return undefined // a getter or getResponse() that throws: the error itself is what is told
  }
}

function answerIn(error: unknown): Response | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { getResponse, status, expose, message } = error as Answerable
  if (typeof getResponse === 'function') return getResponse.call(error)
  if (typeof status !== 'number' || !(status >= 400 && status <= 599)) return undefined
  // Its message may hold a secret, unless it says that it does not
  const shown = expose === true ? message : STATUS_CODES[status]
  return Response.json({ error: shown }, { status })
}

/**
 * Answers for what a Node handler, or an opener before it, has thrown.
 *
 * @throws the error itself when it brings no answer, or a head was sent: it is the server's to answer and to tell
 */
export async function answerError(
  error: unknown,
  visit: Visit,
  response: ServerResponse,
): Promise<void> {
  const answer = response.headersSent ? undefined : answerOf(error)
  if (!answer) throw error
  visit.transport.fail(error)
  const body = Buffer.from(await answer.arrayBuffer())
  response.statusCode = answer.status
  response.setHeaders(answer.headers).end(body)
}

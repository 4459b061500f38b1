import type { IncomingMessage } from 'node:http'
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { Connection } from './connections.ts'
import { lingerOn } from './linger.ts'

/** The stream that a request or a response belongs to; `undefined` for one of HTTP/1.1. */
export function streamOf(message: object): ServerHttp2Stream | undefined {
  return (message as { stream?: ServerHttp2Stream }).stream
}

/** The session that a stream belongs to; `undefined` once the stream is destroyed. */
export function sessionOf(stream: ServerHttp2Stream): ServerHttp2Session | undefined {
  return stream.session as ServerHttp2Session | undefined
}

/**
 * Tells the client with GOAWAY that no new stream will be served on this connection (RFC 9113 §6.8): those under way are
 * finished, and the connection ends after the last of them. Once.
 *
 * It says the last stream that was taken, and once only: a larger number, as the RFC proposes for a first warning, makes
 * Node ignore every later stream. What the client sent meanwhile it may safely send again elsewhere.
 */
export function goAway(connection: Connection): void {
  const { session } = connection
  if (!session || session.closed || session.destroyed) return
  session.close()
  endSession(connection)
}

/** After GOAWAY and the last stream, the client has as long to return our FIN as on any other connection. */
export function endSession(connection: Connection): void {
  const { session, last } = connection
  if (last || !(session?.closed || session?.destroyed)) return
  lingerOn(connection)
}

/** Ends a stream whose response cannot be completed; the others of its connection go on. */
export function cutStream(stream: ServerHttp2Stream): void {
  if (!stream.destroyed) stream.close(constants.NGHTTP2_CANCEL)
}

/** The same for one whose handler has failed: without a code, what was sent so far would look like the whole. */
export function breakStream(stream: ServerHttp2Stream): void {
  if (!stream.destroyed) stream.close(constants.NGHTTP2_INTERNAL_ERROR)
}

/** Answers on a stream whose head has not been sent, whoever has wrapped its response. */
export function answerStream(
  stream: ServerHttp2Stream,
  status: number,
  { headers, body }: { headers: Readonly<Record<string, string>>; body: string },
): void {
  stream.respond({ ':status': status, ...headers })
  // The answer to HEAD has ended with its head
  if (!stream.writableEnded) stream.end(body)
  if (stream.writableFinished) endRequest(stream)
  else stream.once('finish', () => endRequest(stream))
}

/**
 * Is its response out, whole? That the writing side has finished does not tell: Node finishes that of HEAD before anything was
 * answered, and that of a stream that was reset (it is `aborted` then).
 */
export function isAnswered(stream: ServerHttp2Stream): boolean {
  return stream.headersSent && stream.writableFinished && !stream.aborted
}

/**
 * A response that is out does not wait for the rest of its request: the client is told to keep that (RFC 9113 §8.1). Not before it is out: Node
 * puts the reset off until then, and when the session is destroyed meanwhile, with something to be sent on another stream, it sends empty frames of
 * this one without end (found in 24.21 and 26.10).
 */
export function endRequest(stream: ServerHttp2Stream): void {
  if (!stream.endAfterHeaders) stream.close(constants.NGHTTP2_NO_ERROR)
}

/**
 * Tells whoever still reads a request that its rest will not come, as Node does for HTTP/1.1. Over HTTP/2 it lets half a body look whole,
 * and hands out what is left of it behind `close`, which a Web stream takes for an error of the process.
 */
export function breakRequest(request: IncomingMessage): void {
  // What was made of a bare stream is nothing that could be read
  if (request.readableEnded !== false) return
  // Node still hands out, in this very tick, what it has been told to before
  request.pause()
  if (request.destroyed) return
  request.on('error', ignore)
  request.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }))
}

function ignore(): void {}

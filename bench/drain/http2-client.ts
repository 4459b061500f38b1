import { once } from 'node:events'
import http2, { constants, type ClientHttp2Session } from 'node:http2'
import { PATIENCE } from './client.ts'
import type { Outcome } from './outcome.ts'

/** A client over one HTTP/2 connection, which it keeps until the server closes it. */
export class Http2Client implements Disposable {
  readonly #session: ClientHttp2Session

  private constructor(session: ClientHttp2Session) {
    this.#session = session
    // Every stream hears of it
    session.on('error', () => {})
  }

  static async connect(port: number, cert: string): Promise<Http2Client> {
    const session = http2.connect(`https://127.0.0.1:${port}`, { ca: cert })
    await once(session, 'connect')
    return new Http2Client(session)
  }

  /** Opens a stream, and resolves with what became of it. */
  async get(path: string): Promise<Outcome> {
    if (this.#session.closed || this.#session.destroyed) return 'turned away'
    const stream = this.#session.request(
      { ':path': path },
      { signal: AbortSignal.timeout(PATIENCE) },
    )
    let status: number | undefined
    let whole = false
    stream.on('response', (headers) => (status = headers[':status']))
    stream.on('end', () => (whole = true))
    stream.on('error', () => {})
    stream.resume()
    await new Promise((resolve) => stream.once('close', resolve))
    if (status === undefined) return unanswered(stream.rstCode)
    // A stream that was reset ends too
    if (!whole || stream.rstCode !== constants.NGHTTP2_NO_ERROR) return 'truncated'
    return status === 200 ? 'answered' : `status ${status}`
  }

  [Symbol.dispose](): void {
    this.#session.destroy()
  }
}

/** A stream that was refused may be opened again elsewhere: no handler has seen it (RFC 9113, 8.7). */
function unanswered(code: number | undefined): Outcome {
  return code === constants.NGHTTP2_REFUSED_STREAM ? 'turned away' : 'reset'
}

import { once } from 'node:events'
import http2, {
  type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, type OutgoingHttpHeaders,
} from 'node:http2' // oxfmt-ignore
import { within } from './within.ts'

/** A response over HTTP/2. */
export interface Http2Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
  /** What the stream was reset with; 0: it was not. */
  reset: number
}

/** How a stream is opened. */
export interface StreamOptions {
  headers?: OutgoingHttpHeaders
  /** Is there no body? @default true */
  end?: boolean
}

/** A client of HTTP/2 as programs use one: Node's own. */
export class Http2Client {
  readonly session: ClientHttp2Session
  /** What ended the session from the other side: the codes of GOAWAY, in order. */
  readonly goneAway: { code: number; last: number }[] = []
  error: Error | undefined = undefined
  readonly closed: Promise<unknown>

  private constructor(session: ClientHttp2Session) {
    this.session = session
    session.on('goaway', (code, last) => this.goneAway.push({ code, last }))
    session.on('error', (error) => (this.error = error))
    this.closed = within(
      10_000,
      new Promise((resolve) => session.on('close', resolve)),
      'the close',
    )
    this.closed.catch(() => {})
  }

  static async connect(port: number, { tls = false } = {}): Promise<Http2Client> {
    const url = `${tls ? 'https' : 'http'}://localhost:${port}`
    const session = http2.connect(url, { host: '127.0.0.1', rejectUnauthorized: false } as object)
    const client = new Http2Client(session)
    await within(5_000, once(session, 'remoteSettings'), 'the session')
    return client
  }

  /** Opens a stream, and leaves its body open when it is told so. */
  open(line: string, options: StreamOptions = {}): ClientHttp2Stream {
    const { headers = {}, end = true } = options
    const [method, path] = line.split(' ')
    const stream = this.session.request(
      { ':method': method, ':path': path, ...headers },
      { endStream: end },
    )
    stream.on('error', ignore)
    return stream
  }

  /** Sends a request without a body, and gives the whole answer. */
  request(line: string, headers: OutgoingHttpHeaders = {}): Promise<Http2Answer> {
    return answerTo(this.open(line, { headers }))
  }

  /** Resolves when the server has said GOAWAY. */
  async told(): Promise<void> {
    if (this.goneAway.length === 0) await within(8_000, once(this.session, 'goaway'), 'GOAWAY')
  }

  [Symbol.dispose](): void {
    this.session.destroy()
  }
}

/** The whole answer to a stream, or what it was reset with. */
export async function answerTo(stream: ClientHttp2Stream): Promise<Http2Answer> {
  const answer: Http2Answer = { status: 0, headers: {}, body: '', reset: 0 }
  stream.setEncoding('latin1')
  stream.on('response', (headers) => {
    answer.headers = headers
    answer.status = headers[':status'] ?? 0
  })
  stream.on('data', (chunk: string) => (answer.body += chunk))
  const closed = new Promise((resolve) => stream.on('close', resolve))
  await within(8_000, closed, 'the end of the stream')
  answer.reset = stream.rstCode ?? 0
  return answer
}

function ignore(): void {}

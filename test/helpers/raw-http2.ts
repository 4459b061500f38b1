import {
  END_HEADERS, END_STREAM, frame, framesOf, headerBlock, PREFACE, uint32, type Frame, type FrameType,
} from './frames.ts' // oxfmt-ignore
import { RawClient, type RawClientOptions } from './raw-client.ts'

export interface RawHttp2Options extends RawClientOptions {
  /** How much of each response it takes before it says that it wants more, in bytes. @default 65,535 */
  window?: number
}

/** A client of HTTP/2 that sends the frames it is told to send, and answers none: no ACK, no PING, no FIN. */
export class RawHttp2 {
  readonly client: RawClient
  #next = 1
  readonly #frames: Frame[] = []
  #rest: Buffer = Buffer.alloc(0)

  private constructor(client: RawClient) {
    this.client = client
  }

  static async connect(port: number, options: RawHttp2Options = {}): Promise<RawHttp2> {
    const { window = 65_535, tls } = options
    const client = await RawClient.connect(port, { ...options, tls: tls ? ['h2'] : false })
    const settings = Buffer.concat([Buffer.of(0, 4), uint32(window)])
    const more = window > 65_535 ? [frame('WINDOW_UPDATE', {}, uint32(window - 65_535))] : []
    const http2 = new RawHttp2(client)
    client.send(PREFACE)
    return http2.write(frame('SETTINGS', {}, settings), ...more)
  }

  write(...frames: Buffer[]): this {
    this.client.socket.write(Buffer.concat(frames))
    return this
  }

  /** The bytes of a new request's head. */
  head(path: string, { method = 'GET', end = true } = {}): { stream: number; bytes: Buffer } {
    const stream = this.#next
    this.#next += 2
    const names = { ':method': method, ':scheme': 'http', ':path': path, ':authority': 'test' }
    const flags = END_HEADERS | (end ? END_STREAM : 0)
    return { stream, bytes: frame('HEADERS', { stream, flags }, headerBlock(names)) }
  }

  /** Opens a stream. */
  request(path: string, options?: { method?: string; end?: boolean }): number {
    const { stream, bytes } = this.head(path, options)
    this.write(bytes)
    return stream
  }

  data(stream: number, text: string, { end = false } = {}): this {
    return this.write(frame('DATA', { stream, flags: end ? END_STREAM : 0 }, Buffer.from(text)))
  }

  reset(stream: number, code = 8): this {
    return this.write(frame('RST_STREAM', { stream }, uint32(code)))
  }

  /** Every whole frame that has come. */
  get frames(): Frame[] {
    const received = Buffer.from(this.client.received, 'latin1')
    const { frames, rest } = framesOf(Buffer.concat([this.#rest, received]))
    this.client.received = ''
    this.#rest = rest
    this.#frames.push(...frames)
    return this.#frames
  }

  all(type: FrameType, stream?: number): Frame[] {
    return this.frames.filter((one) => one.type === type && (stream ?? one.stream) === one.stream)
  }

  /** The first frame of a type, of a stream when one is given, come already or to come. */
  async frame(type: FrameType, stream?: number): Promise<Frame> {
    await this.client.until(() => this.all(type, stream).length > 0)
    return this.all(type, stream)[0]!
  }

  /** The whole body of a stream that the server has ended. */
  async body(stream: number): Promise<string> {
    const ended = (): boolean => this.frames.some((one) => endsStream(one, stream))
    await this.client.until(ended)
    return this.all('DATA', stream)
      .map(({ payload }) => payload.toString('latin1'))
      .join('')
  }

  [Symbol.dispose](): void {
    this.client.destroy()
  }
}

function endsStream({ type, flags, stream }: Frame, wanted: number): boolean {
  if (stream !== wanted || (type !== 'DATA' && type !== 'HEADERS')) return false
  return (flags & END_STREAM) !== 0
}

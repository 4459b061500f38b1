import type { IncomingMessage, ServerResponse } from 'node:http'

/** What a readiness probe is answered with. */
export interface HealthAnswer {
  /** `true`: status 200; `false`: status 503. */
  ready: boolean
  /** Sent as JSON. */
  body: unknown
}

/** Where the health probes are, and what they report. */
export interface HealthOptions {
  /** The path of liveness: 200 while anything listens. */
  live: string
  /** The path of readiness. */
  ready: string
  /** Called for every readiness probe. What it throws is a 503 and a `request.failed` event. */
  report(): Promise<HealthAnswer> | HealthAnswer
}

/** The paths of the probes, prepared so that every other request costs next to nothing. */
export class Health {
  readonly #options: HealthOptions
  readonly #shortest: number

  constructor(options: HealthOptions) {
    this.#options = options
    this.#shortest = Math.min(options.live.length, options.ready.length)
  }

  /** Is this request a probe: GET or HEAD of one of the two paths, whatever the query? */
  isProbe(request: IncomingMessage): boolean {
    const url = request.url!
    if (url.length < this.#shortest) return false
    if (!isPath(url, this.#options.live) && !isPath(url, this.#options.ready)) return false
    return request.method === 'GET' || request.method === 'HEAD'
  }

  /** Answers a probe. */
  readonly handle = (request: IncomingMessage, response: ServerResponse): void | Promise<void> => {
    if (isPath(request.url!, this.#options.live)) return send(response, 200, { live: true })
    return this.#report(response)
  }

  async #report(response: ServerResponse): Promise<void> {
    try {
      const { ready, body } = await this.#options.report()
      send(response, ready ? 200 : 503, body)
    } catch (error) {
      send(response, 503, { ready: false })
      throw error
    }
  }
}

/** A longer target that begins with the path counts only when its query follows. */
function isPath(url: string, path: string): boolean {
  if (url.length === path.length) return url === path
  return url.charCodeAt(path.length) === 63 && url.startsWith(path)
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body) ?? 'null'
  response.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
  })
  response.end(text)
}

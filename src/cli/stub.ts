import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { ServiceDefinition } from '../service/service.ts'
import type { ProbePaths } from '../service/probes.ts'
import type { Failure, StubPlace } from '../supervisor/messages.ts'
import { errorPage, policyOf, STUB_HEADER, WAITS_HEADER } from './error-page.ts'

/** When clients may come back, in seconds: a worker that starts is faster, but not by much. */
const RETRY_AFTER = '1'

/**
 * What answers while no worker can: 503, with the reason for those who develop. It is alive, and not ready.
 *
 * @param probes where it is asked for that, unless nobody asks
 */
export function stubService(
  { failure }: StubPlace,
  probes: Pick<ProbePaths, 'live' | 'ready'> | false,
): ServiceDefinition {
  const stub = new StubAnswers(failure, probes)
  return new ServiceDefinition({
    name: 'stub',
    app: stub.answer,
    onShutdown: stub.release,
    gracefulTimeout: '5s',
  })
}

class StubAnswers {
  readonly #failure: Failure | undefined
  readonly #probes: Pick<ProbePaths, 'live' | 'ready'> | false
  readonly #id = randomBytes(8).toString('hex')
  /** Pages that wait for something else to see; released with the stub's end. */
  readonly #waiting = new Set<() => void>()
  #isLeaving = false

  constructor(failure: Failure | undefined, probes: Pick<ProbePaths, 'live' | 'ready'> | false) {
    this.#failure = failure
    this.#probes = probes
  }

  readonly answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.setHeader('Cache-Control', 'no-store')
    response.setHeader(STUB_HEADER, this.#id)
    // Whoever comes next is to meet a worker, if there is one
    if (request.httpVersionMajor === 1) response.setHeader('Connection', 'close')
    if (request.headers[WAITS_HEADER] === this.#id) await this.#somethingElse(response)
    const path = request.url!.replace(/\?.*$/s, '')
    if (this.#probes && path === this.#probes.live) send(response, 200, json({ live: true }))
    else if (this.#probes && path === this.#probes.ready) {
      send(response, 503, json({ ready: false, state: 'no worker is ready' }))
    } else {
      response.setHeader('Retry-After', RETRY_AFTER)
      send(response, 503, this.#bodyFor(request, response))
    }
  }

  readonly release = (): void => {
    this.#isLeaving = true
    for (const release of this.#waiting) release()
  }

  async #somethingElse(response: ServerResponse): Promise<void> {
    if (this.#isLeaving) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.add(resolve)
    response.once('close', resolve)
    await promise
    this.#waiting.delete(resolve)
  }

  #bodyFor({ headers: { accept = '' } }: IncomingMessage, response: ServerResponse): Body {
    const failure = this.#failure
    if (!failure) return plain('Service Unavailable\n')
    if (accept.includes('text/html')) {
      const nonce = randomBytes(16).toString('base64')
      response.setHeader('Content-Security-Policy', policyOf(nonce))
      const awaits = this.#probes ? this.#probes.live : '/livez'
      return { type: 'text/html', text: errorPage(failure, { id: this.#id, awaits, nonce }) }
    }
    if (/\bjson\b/.test(accept)) return json({ error: failure.message, details: failure.text })
    return plain(`${failure.text}\n`)
  }
}

interface Body {
  readonly type: string
  readonly text: string
}

function plain(text: string): Body {
  return { type: 'text/plain', text }
}

function json(value: unknown): Body {
  return { type: 'application/json', text: JSON.stringify(value) }
}

function send(response: ServerResponse, status: number, { type, text }: Body): void {
  response.writeHead(status, {
    'Content-Type': `${type}; charset=utf-8`,
    'Content-Length': Buffer.byteLength(text),
  })
  response.end(text)
}

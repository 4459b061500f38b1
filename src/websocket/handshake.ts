import type { IncomingMessage } from 'node:http'
import { WebSocketServer } from 'ws'
import { milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { World } from '../base/world.ts'
import { deflateOf, type Compression } from './compression.ts'
import { Pulse, type PulseLimits } from './pulse.ts'
import type { Ws } from './ws.ts'

/** How the WebSockets of a route are opened and kept. */
export interface WebSocketOptions {
  /**
   * From which pages a browser may connect: origins such as `'https://shop.example'`, or `'any'`. A request without an `Origin` comes
   * from no browser, and may always.
   *
   * @default the page's own host
   */
  origins?: readonly string[] | 'any'
  /** The subprotocols that are spoken, the best one first. A client that offers only others is refused. @default any, none is chosen */
  protocols?: readonly string[]
  /** How large a message may be, in bytes, once it is decompressed: a larger one closes the connection with 1009. @default 1_048_576 */
  maxPayload?: number
  /**
   * Are messages compressed, both ways, with clients that offer it? It costs processor time, and memory that a connection keeps from
   * its first compressed message on.
   *
   * @default false
   */
  compression?: boolean | Compression
  /** How often a client is asked for a sign of life. @default '30s' */
  pingEvery?: Duration
  /** How long nothing may come of a client, no answer to a ping either, before its connection is ended. @default '60s' */
  pingLimit?: Duration
}

/** Why a request does not become a WebSocket. */
export interface Refusal {
  readonly status: number
  readonly why: string
  readonly headers?: Readonly<Record<string, string>>
}

const MAX_PAYLOAD = 1_048_576

/** The handshakes of one route, by its options. */
export class Handshake {
  readonly #origins: ReadonlySet<string> | 'any' | undefined
  readonly #protocols: readonly string[] | undefined
  /** Those that can shake hands, the preferred one first. */
  readonly #servers: readonly WebSocketServer[]
  readonly #limits: PulseLimits
  readonly #pulses = new WeakMap<World, Pulse>()

  /** @throws `ERR_BAD_OPTION` */
  constructor(options: WebSocketOptions = {}) {
    checkOptions(options)
    const { origins, protocols, maxPayload = MAX_PAYLOAD } = options
    this.#origins = typeof origins === 'object' ? new Set(origins.map(originOf)) : origins
    this.#protocols = protocols
    this.#limits = {
      every: milliseconds(options.pingEvery ?? '30s', 'pingEvery'),
      limit: milliseconds(options.pingLimit ?? '60s', 'pingLimit'),
    }
    const usual = {
      noServer: true,
      clientTracking: false,
      maxPayload,
      handleProtocols: (offered: ReadonlySet<string>) => this.#choose(offered) ?? false,
    }
    const perMessageDeflate = deflateOf(options.compression)
    const plain = new WebSocketServer(usual)
    if (!perMessageDeflate) this.#servers = [plain]
    else {
      // An offer that cannot be accepted, or read, is declined (RFC 7692 §5.1); by itself `ws` would answer it 400
      const compressing = new WebSocketServer({ ...usual, perMessageDeflate })
      this.#servers = [compressing.on('wsClientError', ignore), plain]
    }
  }

  /** What stands in the way of it; `undefined`: nothing. */
  refusal({ headers }: IncomingMessage): Refusal | undefined {
    if (headers['sec-websocket-version'] !== '13') {
      const why = 'only version 13 of the protocol is spoken'
      return { status: 426, why, headers: { 'Sec-WebSocket-Version': '13' } }
    }
    if (!/^[+/0-9A-Za-z]{22}==$/.test(headers['sec-websocket-key'] ?? '')) {
      return { status: 400, why: 'its Sec-WebSocket-Key is missing or malformed' }
    }
    if (!this.#mayCome(headers)) {
      return {
        status: 403,
        why: `its origin ${JSON.stringify(shown(headers.origin))} is not allowed`,
      }
    }
    return this.#refusedProtocol(headers['sec-websocket-protocol'])
  }

  /** Performs it. `undefined` when the client has gone meanwhile. */
  accept(
    request: IncomingMessage,
    { socket, head }: { socket: IncomingMessage['socket']; head: Buffer },
  ): Ws | undefined {
    let accepted: Ws | undefined
    for (const server of this.#servers) {
      if (accepted || socket.destroyed) break
      server.handleUpgrade(request, socket, head, (one) => (accepted = one as Ws))
    }
    return accepted
  }

  /** Who looks after its sockets. */
  pulse(world: World): Pulse {
    let pulse = this.#pulses.get(world)
    if (!pulse) this.#pulses.set(world, (pulse = new Pulse(world, this.#limits)))
    return pulse
  }

  #mayCome({ origin, host = '' }: IncomingMessage['headers']): boolean {
    if (origin === undefined || this.#origins === 'any') return true
    if (this.#origins) return this.#origins.has(origin.toLowerCase())
    return URL.parse(origin)?.host === hostOf(host, origin)
  }

  #refusedProtocol(header: string | undefined): Refusal | undefined {
    if (header === undefined) return undefined
    const offered = header.split(',').map((one) => one.trim())
    const isList =
      offered.every((one) => TOKEN.test(one)) && new Set(offered).size === offered.length
    if (!isList) return { status: 400, why: 'its Sec-WebSocket-Protocol is malformed' }
    if (!this.#protocols || this.#choose(new Set(offered)) !== undefined) return undefined
    // What was offered is not repeated: browsers have no other place for a token
    const spoken = this.#protocols.join(', ')
    return { status: 400, why: `none of its subprotocols is spoken here, spoken are ${spoken}` }
  }

  #choose(offered: ReadonlySet<string>): string | undefined {
    return this.#protocols?.find((one) => offered.has(one))
  }
}

/** As much of a header as a line of the log is to hold. */
function shown(header = ''): string {
  return header.slice(0, 100)
}

const TOKEN = /^[!#$%&'*+\-.0-9A-Z^_`|a-z~]+$/

/** The host as a URL writes it: without the port that its scheme has anyway. */
function hostOf(host: string, origin: string): string | undefined {
  return URL.parse(`${origin.slice(0, origin.indexOf(':'))}://${host}`)?.host
}

function originOf(given: string): string {
  const origin = typeof given === 'string' ? URL.parse(given)?.origin : undefined
  if (origin !== undefined && origin !== 'null') return origin
  throw badOption(`Cannot allow the origin ${describe(given)}: write it as 'https://shop.example'`)
}

const OPTIONS = new Set<string>([
  'origins', 'protocols', 'maxPayload', 'compression', 'pingEvery', 'pingLimit',
] satisfies (keyof WebSocketOptions)[]) // oxfmt-ignore

function checkOptions(options: WebSocketOptions): void {
  if (typeof options !== 'object' || options === null) {
    throw badOption(`Cannot make a WebSocket with ${describe(options)} as options: pass an object`)
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.has(name))
  if (unknown !== undefined) {
    throw badOption(
      `Cannot make a WebSocket with the option "${unknown}": there is no such option, known are ${[...OPTIONS].join(', ')}`,
    )
  }
  const { origins, protocols, maxPayload } = options
  if (origins !== undefined && origins !== 'any' && !Array.isArray(origins)) {
    throw badOption(`Cannot use ${describe(origins)} as "origins": pass a list of them, or 'any'`)
  }
  if (protocols !== undefined && !isTokens(protocols)) {
    throw badOption(`Cannot use ${describe(protocols)} as "protocols": pass a list of their names`)
  }
  if (maxPayload === undefined || (Number.isInteger(maxPayload) && maxPayload > 0)) return
  throw badOption(`Cannot use ${describe(maxPayload)} as "maxPayload": pass a number of bytes`)
}

function isTokens(protocols: unknown): boolean {
  return Array.isArray(protocols) && protocols.every((one) => typeof one === 'string' && TOKEN.test(one)) // oxfmt-ignore
}

function badOption(message: string): StewardError {
  return new StewardError('ERR_BAD_OPTION', message)
}

function ignore(): void {}

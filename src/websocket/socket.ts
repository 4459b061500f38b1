import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Socket as NetSocket } from 'node:net'
import { describe, StewardError } from '../base/errors.ts'
import type { Release, World } from '../base/world.ts'
import { Inbox, type Message } from './inbox.ts'
import { checkClosing } from '../base/closing.ts'
import { badFrame, BadMessage, read } from './message.ts'
import type { Pulse } from './pulse.ts'
import type { Ws } from './ws.ts'

/** What a WebSocket was closed with. 1006: it was not closed, its connection has gone. */
export interface Closed {
  readonly code: number
  readonly reason: string
}

/**
 * A WebSocket, from the server's side. Iterated, it gives the messages of the client: a string for text, bytes for everything else.
 * The loop ends when the connection does, and throws nothing then. Whoever reads slowly holds the client back.
 */
export interface Socket extends AsyncIterable<Message> {
  /** The subprotocol that was agreed on; empty when none was. */
  readonly protocol: string
  /** Aborted when the connection is over, or when the grace of a stop is spent. */
  readonly signal: AbortSignal
  /**
   * Aborted when the service begins to stop; the socket still sends and is still iterated. A handler that has asked for it gets up to
   * 2 s of its own before the connection is closed (a fifth of the drain, if that is less).
   */
  readonly stopping: AbortSignal
  /** What it was closed with, by whomever; `undefined` while it is not. */
  readonly closed: Closed | undefined
  /** How much of what was sent has not been handed to the kernel yet, in bytes; what waits to be compressed counts as it was. */
  readonly buffered: number
  /**
   * Sends a message: text for a string, binary for bytes. Resolves with `true` when more may be sent: at once, or when the
   * client has read enough. With `false` when the connection is closed or closing. Never rejects.
   *
   * @throws `ERR_BAD_OPTION` for what is neither a string nor bytes
   */
  send(data: string | ArrayBufferView | ArrayBuffer): Promise<boolean>
  /**
   * The messages as JSON, checked by any Standard Schema. A message that does not fit ends the loop with `ERR_BAD_MESSAGE`; where nobody
   * catches that, the connection is closed with 1007. A new loop goes on with the next message.
   */
  json<Schema extends StandardSchemaV1>(
    schema: Schema,
  ): AsyncIterable<StandardSchemaV1.InferOutput<Schema>>
  /**
   * Closes it behind what was sent. What the client has sent before its own Close is still iterated. Does nothing when it is closed.
   *
   * @throws `ERR_BAD_OPTION` for a code that no application may send, or a reason of more than 123 bytes
   */
  close(code?: number, reason?: string): void
}

/** What a socket needs of what is around it. */
export interface Line {
  readonly raw: NetSocket
  readonly world: World
  readonly pulse: Pulse
  readonly signal: AbortSignal
  readonly stopping: AbortSignal
  /** What is said at the end while the service stops; `undefined` while it does not. */
  readonly farewell: Closed | undefined
  /** How much the kernel has taken of what was sent, in bytes. */
  readonly taken: number
  /** Performs the handshake. `undefined` when the client has gone meanwhile. */
  accept(): Ws | undefined
  /** The handshake is over: from now on the socket may hear that the service stops. */
  accepted(): void
  /** The client has sent what cannot be taken. */
  faulty(error: BadMessage): void
  /** The service parts with the client; or the client, told so, has not closed in its time. */
  parted(what: 'told' | 'lost'): void
}

/** How long a client may take to return our Close frame, in milliseconds, or to take something of what stands before that: `ws` allows 30 s in all. */
const PATIENCE = 5_000

/** The same when the grace is spent: its handler is to hear of the end while it may still clean up. */
const LAST_PATIENCE = 250

/** The `readyState` of `ws` in which it sends. */
const OPEN = 1

const TEXT = { binary: false }
const BINARY = { binary: true }

const YES: Promise<boolean> = Promise.resolve(true)
const NO: Promise<boolean> = Promise.resolve(false)

/** What RFC 6455 §7.4 leaves for us to send when a handler has failed. */
const INTERNAL_ERROR = 1011
const NORMAL = 1000

/**
 * A WebSocket of ours, on one of `ws`.
 *
 * ```
 *  new ── first use, or its door ──▶ open ── our Close frame, or the client's ──▶ closing ── connection closed ──▶ closed
 *   └── the client has gone ──────────┴─────────────────── connection closed ──────────────────────────────────────▲
 * ```
 */
export class ServerSocket implements Socket {
  readonly raw: NetSocket
  readonly line: Line
  readonly #inbox: Inbox
  #state: 'new' | 'open' | 'closing' | 'closed' = 'new'
  #ws: Ws | undefined
  #closed: Closed | undefined
  /** Has anybody begun to read? */
  #isRead = false
  /** Did the handler ask to hear of the stop? Then it gets time of its own. */
  heedsStop = false
  /** Was the client told that the service stops, by our Close frame? */
  #wasTold = false
  /** Those who wait until more may be sent. */
  #drained: PromiseWithResolvers<boolean> | undefined
  /** Where messages are compressed, which takes threads and turns: hears of each that the kernel has. */
  #written: ((error?: Error | null) => void) | undefined
  /** Ends what waits for the client, or for the handler. */
  #release: Release | undefined

  constructor(line: Line) {
    this.line = line
    this.raw = line.raw
    this.#inbox = new Inbox(this)
  }

  get protocol(): string {
    return this.#open()?.protocol ?? ''
  }

  get signal(): AbortSignal {
    return this.line.signal
  }

  get stopping(): AbortSignal {
    this.heedsStop = true
    return this.line.stopping
  }

  get closed(): Closed | undefined {
    return this.#closed
  }

  get buffered(): number {
    return this.#ws?.bufferedAmount ?? this.raw.writableLength
  }

  get isWriting(): boolean {
    return this.buffered > this.raw.writableLength
  }

  get isPaused(): boolean {
    return this.#inbox.isPaused
  }

  send(data: string | ArrayBufferView | ArrayBuffer): Promise<boolean> {
    checkData(data)
    const ws = this.#open()
    if (!ws || this.#state !== 'open' || ws.readyState !== OPEN) return NO
    // Bytes go out with the head of their frame; a string would be encoded by itself, and costs a tenth more
    if (typeof data === 'string') ws.send(Buffer.from(data), TEXT, this.#written)
    else ws.send(data, BINARY, this.#written)
    if (!this.#isBehind) return YES
    return (this.#drained ??= this.#untilDrained()).promise
  }

  close(code: number = NORMAL, reason: string = ''): void {
    checkClosing(code, reason)
    this.#end({ code, reason })
  }

  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    this.#open()
    this.#isRead = true
    // A loop that is left leaves what has come to the next
    return this.#inbox
  }

  async *json<Schema extends StandardSchemaV1>(
    schema: Schema,
  ): AsyncGenerator<StandardSchemaV1.InferOutput<Schema>, void> {
    if (typeof schema?.['~standard']?.validate !== 'function') throw noSchema()
    for await (const message of this) yield await read(schema, message)
  }

  /** Performs the handshake, if that has not been done. */
  accept(): void {
    this.#open()
  }

  /** Has its handshake been performed, or tried? Until then its request can still be answered. */
  get hasBegun(): boolean {
    return this.#state !== 'new'
  }

  /** What a handler in the web's terms answers once it has spoken: nothing of it is sent. */
  ended(): Response {
    return new Response()
  }

  /** The handler has settled: with an error, or well. */
  finish(failure?: { readonly error: unknown }): void {
    if (this.#state === 'new') return
    const { farewell } = this.line
    if (!failure) return this.#end(farewell ?? { code: NORMAL, reason: '' }, farewell !== undefined)
    const { error } = failure
    if (error instanceof BadMessage) {
      this.#end({ code: error.closeCode, reason: error.closeReason })
    } else this.#end({ code: INTERNAL_ERROR, reason: '' })
  }

  /** The service stops: its Close frame, once the handler has had its time. */
  goodbye(farewell: Closed, ownTime: number): void {
    if (this.#state !== 'open') return
    const say = (): void => this.#end(farewell, true)
    if (this.heedsStop && ownTime > 0) this.#wait(ownTime, say)
    else say()
  }

  /** The time of the stop is over. */
  cut(): void {
    // Its connection is half-closed behind the Close frame, said now or before: destroyed, it might be reset before that has left
    if (this.#state === 'open') this.#end(this.line.farewell ?? AWAY, true)
    else if (this.#state === 'closing') this.#expectClose(LAST_PATIENCE)
  }

  /** For its inbox: holds the client back. */
  pause(): void {
    this.#ws?.pause()
  }

  /** For its inbox: lets the client go on. */
  resume(): void {
    this.#ws?.resume()
  }

  ping(): void {
    if (this.#state === 'open') this.#ws?.ping()
  }

  dead(): void {
    this.#ws?.terminate()
  }

  #open(): Ws | undefined {
    if (this.#state !== 'new') return this.#ws
    this.#state = 'open'
    const ws = this.line.accept()
    if (!ws) this.over(GONE)
    else this.#follow(ws)
    return ws
  }

  #follow(ws: Ws): void {
    this.#ws = ws
    // Listeners of its own would weigh as much as the rest of it
    ;(ws as Carrier)[SOCKET] = this
    ws.on('message', onMessage)
    ws.on('error', onError)
    ws.on('close', onClose)
    if (ws.extensions !== '') this.#written = (error) => this.#onWritten(error)
    this.line.pulse.watch(this)
    this.line.accepted()
  }

  /** A message has come. */
  take(data: Buffer, isBinary: boolean): void {
    this.#inbox.push(isBinary ? data : data.toString())
  }

  /** The client has broken the protocol; `ws` has closed it with the code of that already. */
  broken(error: Error): void {
    const bad = badFrame(error)
    if (!bad) return
    if (this.#state === 'open') this.#await()
    this.line.faulty(bad)
  }

  #end({ code, reason }: Closed, isGoodbye = false): void {
    const ws = this.#open()
    if (!ws || this.#state !== 'open') return
    this.#wasTold = isGoodbye
    if (isGoodbye) this.line.parted('told')
    ws.close(code, reason)
    this.#await()
  }

  /** Waits for the client's Close, which may stand behind what nobody reads. */
  #await(): void {
    this.#state = 'closing'
    this.#settleDrained(false)
    if (!this.#isRead) this.#inbox.discard()
    this.#expectClose(PATIENCE)
  }

  /** The Close frame stands behind what was sent before: who still takes of that has its time afterwards. */
  #expectClose(patience: number): void {
    const { taken } = this.line
    this.#wait(patience, () => {
      if (this.line.taken > taken) this.#expectClose(patience)
      else this.#lose()
    })
  }

  #lose(): void {
    this.#ws?.terminate()
  }

  #wait(ms: number, then: () => void): void {
    this.#release?.()
    this.#release = this.line.world.timer(ms, then)
  }

  /** The connection is over. */
  over(closed: Closed): void {
    if (this.#wasTold && closed.code === GONE.code) this.line.parted('lost')
    this.#state = 'closed'
    this.#closed = closed
    this.#release?.()
    this.line.pulse.leave(this)
    this.#settleDrained(false)
    this.#inbox.end()
  }

  /** Is more waiting than the connection takes at once? Of what is being compressed, the connection knows nothing yet. */
  get #isBehind(): boolean {
    return this.#written
      ? this.buffered >= this.raw.writableHighWaterMark
      : this.raw.writableNeedDrain
  }

  #untilDrained(): PromiseWithResolvers<boolean> {
    if (!this.#written) this.raw.once('drain', () => this.#settleDrained(true))
    return Promise.withResolvers()
  }

  #onWritten(error: Error | null | undefined): void {
    if (!error && !this.#isBehind) this.#settleDrained(true)
  }

  #settleDrained(more: boolean): void {
    this.#drained?.resolve(more)
    this.#drained = undefined
  }
}

const SOCKET = Symbol('steward.socket')

interface Carrier {
  [SOCKET]?: ServerSocket
}

function onMessage(this: Ws, data: Buffer, isBinary: boolean): void {
  ;(this as Carrier)[SOCKET]!.take(data, isBinary)
}

function onError(this: Ws, error: Error): void {
  ;(this as Carrier)[SOCKET]!.broken(error)
}

function onClose(this: Ws, code: number, reason: Buffer): void {
  ;(this as Carrier)[SOCKET]!.over({ code, reason: reason.toString() })
}

const AWAY: Closed = { code: 1001, reason: '' }
const GONE: Closed = { code: 1006, reason: '' }

function checkData(data: unknown): void {
  if (typeof data === 'string' || ArrayBuffer.isView(data) || data instanceof ArrayBuffer) return
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot send ${describe(data)}: pass a string or bytes, JSON.stringify(…) for anything else`,
  )
}

function noSchema(): StewardError {
  return new StewardError(
    'ERR_BAD_OPTION',
    'Cannot check messages: what was given is no Standard Schema, pass one of Zod, Valibot or ArkType',
  )
}

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Release } from '../base/world.ts'
import type { Connection, Speaker } from './connections.ts'
import type { Goodbye } from './goodbyes.ts'
import { takenOf } from './internals.ts'
import { linger } from './linger.ts'

/** How long a client may take to return the Close frame, in milliseconds, or to take something of what stands before that. */
const PATIENCE = 5_000

/** A connection becomes what only its own listeners know: at the stop, one that speaks WebSocket is closed in order all the same. */
export function becomesForeign(connection: Connection, request: IncomingMessage): void {
  const { method = '', url = '', headers } = request
  const path = url.split('?', 1)[0]!
  const since = connection.traffic.world.now()
  const isWebSocket = headers.upgrade?.toLowerCase() === 'websocket'
  const speaker = isWebSocket ? { speaker: new ForeignSpeaker(connection) } : {}
  connection.upgraded = { method, path, since, ...speaker }
}

/** What `ws` keeps on the socket of each of its WebSockets, in every version since 7, and in whatever stands on it. */
interface Ws {
  close(code: number, reason: string): void
  /** What waits to be compressed, and what its socket has not sent yet. */
  readonly bufferedAmount: number
}

function wsOn(socket: Socket): Ws | undefined {
  const symbol = Object.getOwnPropertySymbols(socket).find((one) => one.description === 'websocket')
  const ws = symbol && (socket as unknown as Record<symbol, Partial<Ws> | undefined>)[symbol]
  return typeof ws?.close === 'function' ? (ws as Ws) : undefined
}

/**
 * Ends a WebSocket that is somebody else's. One of `ws` is asked to close. Any other gets a Close frame on its socket, in a turn of its own:
 * libraries write a frame whole, so that this stands between two of them.
 */
class ForeignSpeaker implements Speaker {
  readonly #connection: Connection
  #state: 'speaking' | 'told' | 'lost' = 'speaking'
  #release: Release = () => {}

  constructor(connection: Connection) {
    this.#connection = connection
  }

  get isWriting(): boolean {
    const { socket } = this.#connection
    return (wsOn(socket)?.bufferedAmount ?? 0) > socket.writableLength
  }

  goodbye({ code, reason }: Goodbye): void {
    if (this.#state !== 'speaking' || !this.#connection.socket.writable) return
    this.#state = 'told'
    const { socket, traffic, upgraded } = this.#connection
    traffic.tellParted('told', upgraded!)
    this.#connection.raw.once('close', () => this.#release())
    const ws = wsOn(socket)
    if (ws) ws.close(code, reason)
    else socket.write(closeFrame(code, reason))
    this.#expectClose()
  }

  cut(): void {
    this.goodbye(this.#connection.traffic.goodbye)
    this.#tellLost()
  }

  #expectClose(): void {
    const { raw, traffic } = this.#connection
    const taken = takenOf(raw)
    this.#release = traffic.world.timer(PATIENCE, () => {
      if (takenOf(raw) > taken) this.#expectClose()
      else this.#lose()
    })
  }

  #lose(): void {
    this.#tellLost()
    linger(this.#connection)
  }

  #tellLost(): void {
    if (this.#state !== 'told') return
    this.#state = 'lost'
    this.#release()
    const { traffic, upgraded } = this.#connection
    traffic.tellParted('lost', upgraded!)
  }
}

/** RFC 6455 §5.5.1, unmasked as a server's is. */
function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason)
  return Buffer.concat([Buffer.from([0x88, 2 + text.length, code >> 8, code & 255]), text])
}

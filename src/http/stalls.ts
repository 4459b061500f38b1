import type { Release } from '../base/world.ts'
import type { Connection } from './connections.ts'
import { takenOf, writeQueueOf } from './internals.ts'
import type { Traffic } from './traffic.ts'

/** How many looks fall into the time that a client is given: by one of them it may be exceeded. */
const LOOKS = 4

/** How much of a connection had been sent when that last changed, and when that was. */
interface Stall {
  readonly sent: number
  readonly since: number
}

/**
 * Destroys connections whose client leaves a response unread for so long, in milliseconds, that nothing of it could be sent. A
 * handler that takes its time has nothing to send, and is left alone. Until it is released.
 *
 * It looks now and then, since a timer of Node's for each request costs more than a hundredth of it.
 */
export function cutStalls(traffic: Traffic, limit: number): Release {
  const { world } = traffic
  let stalls = new Map<Connection, Stall>()
  const look = (): void => {
    const next = new Map<Connection, Stall>()
    for (const connection of traffic.connections) {
      const stall = stallOf(connection, stalls.get(connection), world.now())
      if (stall && world.now() - stall.since >= limit) connection.destroy()
      else if (stall) next.set(connection, stall)
    }
    stalls = next
    release = world.timer(limit / LOOKS, look, 'idle')
  }
  let release = world.timer(limit / LOOKS, look, 'idle')
  return () => release()
}

/** Since when nothing has moved; `undefined` when nothing is to be sent. */
function stallOf(
  connection: Connection,
  before: Stall | undefined,
  now: number,
): Stall | undefined {
  if (unsentOf(connection) === 0) return undefined
  // Not what is waiting: an app that goes on writing would make it grow
  const sent = takenOf(connection.raw)
  return before?.sent === sent ? before : { sent, since: now }
}

/**
 * What has been written and not sent: on the socket, and over HTTP/2 on its streams and in its session. What a session writes over TLS while its client
 * resets the connection stays there for ever: Node 24 tells nobody that the connection has gone.
 */
function unsentOf({ socket, session, exchanges }: Connection): number {
  if (!session) return socket.writableLength
  const unsent = exchanges.reduce((sum, { response }) => sum + response.writableLength, 0)
  return unsent + writeQueueOf(socket)
}

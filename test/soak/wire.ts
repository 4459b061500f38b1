import http2, { type ClientHttp2Session } from 'node:http2'
import tls from 'node:tls'
import { pause } from '../helpers/pause.ts'

/** How often a connection is looked at, in milliseconds. */
const EVERY = 500

interface Handle {
  getpeername?(out: object): number
}

/**
 * A client of `node:http2` over TLS that hears of a reset. In Node 24 those whose connection is reset while they write wait for ever (about one in
 * seven of those that write all the time; Node 26 and plain connections: none): the system no longer knows their other side then.
 */
export function connectEncrypted(port: number): ClientHttp2Session {
  const socket = tls.connect({
    port,
    host: '127.0.0.1',
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  })
  const session = http2.connect(`https://127.0.0.1:${port}`, { createConnection: () => socket })
  void watch(session, socket)
  return session
}

async function watch(session: ClientHttp2Session, socket: tls.TLSSocket): Promise<void> {
  while (!session.destroyed) {
    await pause(EVERY)
    if (hasGone(socket)) session.destroy(new Error('the connection has gone, and nobody told'))
  }
}

function hasGone(socket: tls.TLSSocket): boolean {
  const { _handle: handle } = socket as { _handle?: Handle | null }
  return !socket.connecting && (handle?.getpeername?.({}) ?? 0) < 0
}

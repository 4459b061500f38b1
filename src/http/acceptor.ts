import type { Server as Http1Server } from 'node:http'
import type { Http2Server } from 'node:http2'
import net from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import type { Certificate } from './certificates.ts'
import { HANDSHAKE_LIMIT } from './limits.ts'

/** What takes the connections that are accepted, by the protocol that they speak. */
export interface Speakers {
  readonly http1: Http1Server
  /** Absent: HTTP/1.1 alone is spoken. */
  readonly http2: Http2Server | undefined
}

/**
 * Makes what accepts connections and hands them to the server of their protocol:
 *
 * ```
 *                   ┌─ plain, HTTP/1.1 alone ────────────────▶ http1, which accepts by itself
 *  a connection ────┼─ plain ── its first bytes ─────────┬───▶ http1
 *                   └─ TLS ── handshake ── ALPN's choice ─┴──▶ http2
 * ```
 *
 * Without TLS a client of HTTP/2 begins with a preface that no request of HTTP/1.1 begins with (RFC 9113 §3.3), so that probes and
 * old clients reach the same port.
 */
export function acceptorFor(speakers: Speakers, certificate: Certificate | undefined): net.Server {
  const { http1, http2 } = speakers
  if (certificate) return secureAcceptor(speakers, certificate)
  if (!http2) return http1
  begins(http1)
  const server = net.createServer({ allowHalfOpen: true, noDelay: true })
  return server.on('connection', (socket) => speakersChoice(socket, speakers))
}

function secureAcceptor({ http1, http2 }: Speakers, certificate: Certificate): net.Server {
  begins(http1)
  const server = tls.createServer({
    ...certificate.options,
    ALPNProtocols: http2 ? ['h2', 'http/1.1'] : ['http/1.1'],
    handshakeTimeout: Math.min(http1.headersTimeout || HANDSHAKE_LIMIT, HANDSHAKE_LIMIT),
    allowHalfOpen: true,
    noDelay: true,
  })
  // Node tells of a handshake that takes too long, and leaves its connection open
  server.on('tlsClientError', (_, socket) => socket.destroy())
  return server.on('secureConnection', (socket: TLSSocket) => {
    if (socket.alpnProtocol === 'h2') speakHttp2(socket, http2!)
    else http1.emit('connection', socket)
  })
}

/** Of a client that has ended its side, Node's sessions hear only when their socket ends with it, as those that Node accepts do. */
function speakHttp2(socket: net.Socket, http2: Http2Server): void {
  socket.allowHalfOpen = false
  http2.emit('connection', socket)
}

/** Node begins to enforce the limits of a server when it listens, which one that is handed its connections never does. */
function begins(http1: Http1Server): void {
  http1.emit('listening')
}

const PREFACE = 'PRI'

/** Waits for as many bytes as tell the protocols apart, and hands the connection on with them. */
function speakersChoice(socket: net.Socket, { http1, http2 }: Speakers): void {
  let received = Buffer.alloc(0)
  const giveUp = (): void => void socket.destroy()
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null
    if (chunk) received = Buffer.concat([received, chunk])
    const begins = received.toString('latin1', 0, PREFACE.length)
    // Nothing comes any more when the client has ended its side
    const isShort = begins.length < PREFACE.length && PREFACE.startsWith(begins)
    if (isShort && !socket.readableEnded) return
    socket.off('readable', onReadable).off('error', giveUp).off('timeout', giveUp)
    socket.setTimeout(0)
    const isHttp2 = begins === PREFACE
    if (received.length === 0 || (isHttp2 && socket.readableEnded)) return giveUp()
    socket.unshift(received)
    if (isHttp2) speakHttp2(socket, http2!)
    else http1.emit('connection', socket)
  }
  socket.on('readable', onReadable).on('error', giveUp).on('timeout', giveUp)
  socket.setTimeout(http1.headersTimeout)
}

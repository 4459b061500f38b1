import net from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'

/**
 * An encrypted connection for a client of `node:http2`. Over a socket of Node's own, the client of Node 24 never hears that its connection was reset
 * while it wrote: about one in seven of those that write all the time waits for ever (Node 26 and plain connections: none). Here the encryption
 * is not wired to the socket, and hears of its end from us.
 */
export function encrypted(port: number): tls.TLSSocket {
  const socket = throughUs(net.connect({ port, host: '127.0.0.1', noDelay: true }))
  return tls.connect({ socket, ALPNProtocols: ['h2'], rejectUnauthorized: false })
}

function throughUs(wire: net.Socket): Duplex {
  const through = new Duplex({
    read: () => wire.resume(),
    write: (part: Buffer, _, done) => wire.write(part, done),
    final: (done) => wire.end(done),
    destroy(error, done) {
      wire.destroy()
      done(error)
    },
  })
  wire.on('data', (part) => void (through.push(part) || wire.pause()))
  wire.on('end', () => through.push(null))
  wire.on('error', (error) => through.destroy(error))
  wire.on('close', () => through.destroy())
  return through
}

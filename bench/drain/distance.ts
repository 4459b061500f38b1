import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/** How long each way takes, in milliseconds. */
const ONE_WAY = 10

/**
 * A network between clients and a server: whatever one side does, bytes, FIN or reset, the other side sees 10 ms later. On
 * loopback alone nothing is ever on its way.
 */
export class Distance implements Disposable {
  readonly #server = net.createServer({ allowHalfOpen: true, noDelay: true })
  readonly #sockets = new Set<Socket>()

  private constructor(port: number) {
    this.#server.on('connection', (near) => {
      const far = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
      this.#join(near, far)
      this.#join(far, near)
    })
  }

  /** A network to a port of this machine. */
  static async to(port: number): Promise<Distance> {
    const distance = new Distance(port)
    distance.#server.listen(0, '127.0.0.1')
    await once(distance.#server, 'listening')
    return distance
  }

  /** The port of its near side. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  #join(from: Socket, to: Socket): void {
    const later = (act: () => void): void => void setTimeout(act, ONE_WAY)
    this.#sockets.add(from)
    from.on('data', (bytes) => later(() => to.write(bytes)))
    from.on('end', () => later(() => to.end()))
    from.on('error', () => later(() => to.resetAndDestroy()))
    from.on('close', () => this.#sockets.delete(from))
  }

  [Symbol.dispose](): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

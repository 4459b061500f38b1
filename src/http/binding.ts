import { lookup } from 'node:dns/promises'
import { fstatSync } from 'node:fs'
import net from 'node:net'
import { describe, StewardError } from '../base/errors.ts'
import { BACKLOG, listening } from './listening.ts'
import { bindPath } from './unix-socket.ts'

/** Where to listen: an address, the path of a Unix socket, or a listening socket that was inherited. */
export type BindTarget = { host: string; port: number } | { path: string } | { fd: number }

/** A place to listen on that is taken already, though nothing listens yet: connections are still refused. */
export interface Binding {
  /**
   * Makes `server` accept connections here; resolves when it does. Once.
   *
   * @throws `ERR_LISTEN` when the place cannot be listened on after all
   */
  listen(server: net.Server, backlog?: number): Promise<void>
  /** Gives the place back: closes a socket that was never listened on, removes a path that is still ours. */
  release(): Promise<void> | void
  /** Its descriptor, for a process that is to listen on it; `undefined` where it cannot be handed on. */
  fd(): number | undefined
  /** What is bound, as a URL: `http://127.0.0.1:3000`, `unix:/run/app.sock`, `fd:3`. */
  describe(): string
}

/**
 * Takes a place to listen on, without listening yet, so that a busy port is found before anything is started.
 *
 * @throws `ERR_LISTEN` with what stands in the way; `ERR_BAD_OPTION` for a port out of range
 */
export async function bind(target: BindTarget): Promise<Binding> {
  if ('path' in target) return bindPath(target.path)
  if ('fd' in target) return bindDescriptor(target.fd)
  return bindAddress(target.host, target.port)
}

/** A URL with an address as it is: IPv6 in brackets, and no other name for "all interfaces". */
export function urlOf(address: string, port: number, scheme: 'http' | 'https' = 'http'): string {
  return `${scheme}://${address.includes(':') ? `[${address}]` : address}:${port}`
}

async function bindAddress(host: string, port: number): Promise<Binding> {
  checkPort(port)
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const refuse = (error: unknown): never => {
    throw cannotListen(where, error)
  }
  const address = net.isIP(host) ? host : (await lookup(host).catch(refuse)).address
  try {
    return new BoundAddress(new net.BoundSocket({ host: address, port }), where)
  } catch (error) {
    return refuse(error)
  }
}

function checkPort(port: number): void {
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return
  const message = `Cannot use ${describe(port)} as "port": it is not a whole number from 0 to 65535`
  throw new StewardError('ERR_BAD_OPTION', message)
}

class BoundAddress implements Binding {
  readonly #socket: net.BoundSocket
  readonly #where: string
  readonly #url: string

  constructor(socket: net.BoundSocket, where: string) {
    this.#socket = socket
    this.#where = where
    const { address, port } = socket.address()
    this.#url = urlOf(address, port)
  }

  async listen(server: net.Server, backlog: number = BACKLOG): Promise<void> {
    try {
      await listening(server, () => server.listen(this.#socket, backlog))
    } catch (error) {
      // On Linux two sockets may be bound to one port as long as neither listens
      throw cannotListen(this.#where, error)
    }
  }

  release(): void {
    // Does nothing once a server has taken it over
    this.#socket[Symbol.dispose]()
  }

  fd(): number {
    return this.#socket.fd()
  }

  describe(): string {
    return this.#url
  }
}

/** A listening socket that the parent process holds: everything that listens on it shares one queue. */
function bindDescriptor(fd: number): Binding {
  const where = `file descriptor ${fd}`
  checkDescriptor(fd, where)
  return {
    async listen(server, backlog = BACKLOG) {
      try {
        // Positionally: Node ignores the backlog in the options beside fd
        await listening(server, () => server.listen({ fd }, backlog))
      } catch (error) {
        throw cannotListen(where, error)
      }
    },
    release() {},
    fd: () => fd,
    describe: () => `fd:${fd}`,
  }
}

function checkDescriptor(fd: number, where: string): void {
  let isSocket: boolean
  try {
    isSocket = fstatSync(fd).isSocket()
  } catch (error) {
    throw cannotListen(where, error)
  }
  if (!isSocket) {
    const message = `Cannot listen on ${where}: it is not a socket; pass a listening socket, as systemd does`
    throw new StewardError('ERR_LISTEN', message)
  }
}

/** What the usual errors mean, and what to do. */
const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE:
    'the port is in use (EADDRINUSE); stop the other process or choose another with --port',
  EACCES:
    'this user may not use the port (EACCES); choose one above 1023 with --port, or allow it to the user',
  EADDRNOTAVAIL:
    'this machine has no such address (EADDRNOTAVAIL); choose one of its own with --host',
  ENOTFOUND: 'the name of the host is not known (ENOTFOUND); choose another with --host',
  EAI_AGAIN:
    'the name of the host could not be looked up (EAI_AGAIN); write its address with --host',
  EBADF: 'it is not open (EBADF); the parent process must pass it on',
  EINVAL: 'it is not a socket that can listen (EINVAL); pass a listening socket',
  ERR_INVALID_ARG_VALUE: 'it is not an address; choose another with --host',
  ERR_OUT_OF_RANGE: 'it is not a file descriptor; the smallest that a parent process can pass is 3',
  ERR_INVALID_FD_TYPE: 'it is not a socket that can listen; pass a listening socket',
}

function cannotListen(where: string, cause: unknown): StewardError {
  const code = (cause as { code?: unknown }).code
  const advice = typeof code === 'string' ? ADVICE[code] : undefined
  const found = advice ?? (cause instanceof Error ? cause.message : String(cause))
  return new StewardError('ERR_LISTEN', `Cannot listen on ${where}: ${found}`, { cause })
}

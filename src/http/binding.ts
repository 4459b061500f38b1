import type promises from 'node:dns/promises'
import { fstatSync } from 'node:fs'
import net from 'node:net'
import { describe, StewardError } from '../base/errors.ts'
import { BACKLOG, listening } from './listening.ts'
import { bindPath } from './unix-socket.ts'

/** Where to listen: an address, the path of a Unix socket, or a listening socket that was inherited, with the URL it is known by. */
export type BindTarget =
  | { host: string; port: number }
  | { path: string }
  | { fd: number; url?: string; isSealable?: boolean }

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
  /** Does it end with us, and can clients come until then? An inherited socket outlives us; a path is gone before. */
  readonly isSealable: boolean
  /** Its descriptor, for a process that is to listen on it. */
  fd(): number
  /** Another process listens on it from now on: makes it known where that is still to be done. */
  reveal(): void
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
  if ('fd' in target) return bindDescriptor(target)
  return bindAddress(target.host, target.port)
}

/**
 * Takes several places, all of them or none. A name takes every address that it stands for, on one port: `localhost` is 127.0.0.1 and ::1.
 *
 * @throws as `bind`; `ERR_LISTEN` for two that are one
 */
export async function bindAll(targets: readonly BindTarget[]): Promise<Binding[]> {
  const bindings: Binding[] = []
  try {
    for (const target of targets) {
      for (const binding of await bindEach(target)) {
        checkApart(binding, bindings)
        bindings.push(binding)
      }
    }
    return bindings
  } catch (error) {
    await releaseAll(bindings)
    throw error
  }
}

/** Gives them all back. */
export async function releaseAll(bindings: readonly Binding[]): Promise<void> {
  for (const binding of bindings) await binding.release()
}

/** A URL with an address as it is: IPv6 in brackets, and no other name for "all interfaces". */
export function urlOf(address: string, port: number, scheme: 'http' | 'https' = 'http'): string {
  return `${scheme}://${address.includes(':') ? `[${address}]` : address}:${port}`
}

/** How often another free port is tried, where one is to be free at several addresses. */
const TRIES = 5

async function bindEach(target: BindTarget): Promise<Binding[]> {
  if (!('host' in target)) return [await bind(target)]
  const { host, port } = target
  if (net.isIP(host)) return [await bindOne(host, port)]
  checkPort(port)
  const addresses = await addressesOf(host, port)
  for (let left = port === 0 ? TRIES : 1; ; left--) {
    try {
      return await bindTogether(addresses, port)
    } catch (error) {
      if (left === 1 || codeOf(error) !== 'EADDRINUSE') throw error
    }
  }
}

/** All interfaces are one dual-stack socket; where a machine has no IPv6, all of IPv4. */
async function bindOne(host: string, port: number): Promise<Binding> {
  try {
    return await bindAddress(host, port)
  } catch (error) {
    if (host !== '::' || !MISSING.has(codeOf(error))) throw error
    return bindAddress('0.0.0.0', port)
  }
}

/** An address that this machine has not is left out: many hosts know `::1` by name and speak no IPv6. */
async function bindTogether(addresses: readonly string[], wanted: number): Promise<Binding[]> {
  const bindings: BoundAddress[] = []
  let missing: unknown
  try {
    for (const host of addresses) {
      const port = bindings[0]?.port ?? wanted
      try {
        bindings.push(await bindAddress(host, port))
      } catch (error) {
        if (!MISSING.has(codeOf(error))) throw error
        missing = error
      }
    }
  } catch (error) {
    await releaseAll(bindings)
    throw error
  }
  if (bindings.length === 0) throw missing
  return bindings
}

const MISSING = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT'])

function codeOf(error: unknown): string {
  const { cause } = error as { cause?: unknown }
  return String((cause as { code?: unknown } | undefined)?.code)
}

async function addressesOf(host: string, port: number): Promise<string[]> {
  const { lookup } = await dns()
  const found = await lookup(host, { all: true }).catch((error: unknown) => {
    throw cannotListen(placeOf(host, port), error)
  })
  const named = found.map(({ address }) => address)
  return [...new Set(host === 'localhost' ? [...LOOPBACK, ...named] : named)]
}

/** Only names need it; whoever binds addresses holds less without. */
function dns(): Promise<typeof promises> {
  return import('node:dns/promises')
}

/** What `localhost` is for every client, whichever of the two its hosts file has (RFC 6761 §6.3). */
const LOOPBACK = ['127.0.0.1', '::1']

function placeOf(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** Until they listen, the kernel lets one process bind two sockets to one port. */
function checkApart(binding: Binding, others: readonly Binding[]): void {
  const other = others.find((one) => isSame(one.describe(), binding.describe()))
  if (!other) return
  const also = other.describe() === binding.describe() ? 'it is' : `${other.describe()} is`
  const message = `Cannot listen on ${binding.describe()}: ${also} given as well; give each place once`
  throw new StewardError('ERR_LISTEN', message)
}

function isSame(one: string, other: string): boolean {
  if (one === other) return true
  if (!one.startsWith('http:') || !other.startsWith('http:')) return false
  const [first, second] = [new URL(one), new URL(other)]
  if (first.port !== second.port) return false
  return covers(first.hostname, second.hostname) || covers(second.hostname, first.hostname)
}

/** All of IPv6 is all of IPv4 as well. */
function covers(all: string, one: string): boolean {
  return all === '[::]' || (all === '0.0.0.0' && !one.includes(':'))
}

async function bindAddress(host: string, port: number): Promise<BoundAddress> {
  checkPort(port)
  const where = placeOf(host, port)
  try {
    const address = net.isIP(host) ? host : (await (await dns()).lookup(host)).address
    return new BoundAddress(new net.BoundSocket({ host: address, port }), where)
  } catch (error) {
    throw cannotListen(where, error)
  }
}

function checkPort(port: number): void {
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return
  const message = `Cannot use ${describe(port)} as "port": it is not a whole number from 0 to 65535`
  throw new StewardError('ERR_BAD_OPTION', message)
}

class BoundAddress implements Binding {
  readonly isSealable = true
  readonly #socket: net.BoundSocket
  readonly #where: string
  readonly #url: string
  readonly port: number

  constructor(socket: net.BoundSocket, where: string) {
    this.#socket = socket
    this.#where = where
    const { address, port } = socket.address()
    this.port = port
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

  reveal(): void {}

  describe(): string {
    return this.#url
  }
}

/** A listening socket that the parent process holds: everything that listens on it shares one queue. */
function bindDescriptor({
  fd,
  url,
  isSealable = false,
}: {
  fd: number
  url?: string
  isSealable?: boolean
}): Binding {
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
    isSealable,
    fd: () => fd,
    reveal() {},
    describe: () => url ?? `fd:${fd}`,
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
    const message = `Cannot listen on ${where}: it is not a socket; pass a listening socket, as systemd does, to node itself: npm, npx and tsx do not hand it on`
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
  EBADF:
    'it is not open (EBADF); the parent process must pass it on, and npm, npx and tsx do not: start node itself',
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

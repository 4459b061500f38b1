import { once } from 'node:events'
import { existsSync, lstatSync, renameSync, unlinkSync, type Stats } from 'node:fs'
import net from 'node:net'
import { dirname } from 'node:path'
import { StewardError } from '../base/errors.ts'
import { realWorld } from '../base/world.ts'
import type { Binding } from './binding.ts'
import { BACKLOG, listening } from './listening.ts'

/** The longest path that a socket's address holds on Linux, in bytes; elsewhere it is shorter by 4. */
const LONGEST_PATH = 107

/**
 * Takes the path of a Unix socket. It is bound to a temporary name beside it and renamed into place once it listens, so
 * that nobody ever finds a socket there that refuses.
 *
 * @throws `ERR_LISTEN` when a process is alive behind the path, something else than a socket is there, or it cannot be made
 */
export async function bindPath(path: string): Promise<Binding> {
  await checkPath(path)
  const temporary = `${path}.${process.pid}-${Math.floor(realWorld.random() * 46_656).toString(36)}`
  if (Buffer.byteLength(temporary) > LONGEST_PATH) {
    const most = LONGEST_PATH - Buffer.byteLength(temporary) + Buffer.byteLength(path)
    throw cannot(path, `its path is too long for a socket; ${most} bytes are the most`)
  }
  try {
    return new BoundPath(path, temporary, bound(temporary))
  } catch (error) {
    throw cannot(path, adviceOn(error), error)
  }
}

/** The types do not know yet that a bound socket may have a path. */
function bound(path: string): net.BoundSocket {
  const options: object = { path }
  return new net.BoundSocket(options)
}

class BoundPath implements Binding {
  readonly #path: string
  readonly #temporary: string
  readonly #socket: net.BoundSocket
  /** What tells whether a socket is still ours: a successor renames its own over it. */
  readonly #ours: Stats
  #place: 'temporary' | 'path' | 'released' = 'temporary'

  constructor(path: string, temporary: string, socket: net.BoundSocket) {
    this.#path = path
    this.#temporary = temporary
    this.#socket = socket
    this.#ours = lstatSync(temporary)
  }

  async listen(server: net.Server, backlog: number = BACKLOG): Promise<void> {
    try {
      await listening(server, () => server.listen(this.#socket, backlog))
    } catch (error) {
      throw cannot(this.#path, adviceOn(error), error)
    }
    this.reveal()
  }

  reveal(): void {
    if (this.#place !== 'temporary') return
    try {
      renameSync(this.#temporary, this.#path)
      this.#place = 'path'
    } catch (error) {
      throw cannot(this.#path, adviceOn(error), error)
    }
  }

  release(): void {
    const name = this.#place === 'path' ? this.#path : this.#temporary
    if (this.#place === 'released') return
    this.#place = 'released'
    this.#socket[Symbol.dispose]()
    const there = lstatSync(name, { throwIfNoEntry: false })
    if (there?.ino === this.#ours.ino && there.dev === this.#ours.dev) unlinkSync(name)
  }

  fd(): number {
    return this.#socket.fd()
  }

  describe(): string {
    return `unix:${this.#path}`
  }
}

/** Nothing may be there but a socket that its process left behind. */
async function checkPath(path: string): Promise<void> {
  // libuv calls a folder that is missing one that may not be written to
  if (!existsSync(dirname(path))) throw cannot(path, ADVICE['ENOENT']!)
  const there = lstatSync(path, { throwIfNoEntry: false })
  if (!there) return
  if (!there.isSocket()) {
    throw cannot(path, 'something else than a socket is there; remove it or choose another path')
  }
  if (await answers(path)) {
    throw cannot(path, 'another process listens on it; stop that process or choose another path')
  }
}

async function answers(path: string): Promise<boolean> {
  const socket = net.connect(path)
  try {
    await once(socket, 'connect')
    return true
  } catch (error) {
    // Nobody listens any more, or it has gone meanwhile
    return !['ECONNREFUSED', 'ENOENT'].includes(codeOf(error))
  } finally {
    socket.destroy()
  }
}

const ADVICE: Readonly<Record<string, string>> = {
  EACCES:
    'this user may not write to its folder (EACCES); choose another path or allow it to the user',
  ENOENT: 'its folder does not exist (ENOENT); make the folder or choose another path',
  EADDRINUSE: 'a socket of the same name is in use (EADDRINUSE); try again',
}

function adviceOn(error: unknown): string {
  return ADVICE[codeOf(error)] ?? (error instanceof Error ? error.message : String(error))
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code)
}

function cannot(path: string, found: string, cause?: unknown): StewardError {
  const message = `Cannot listen on unix:${path}: ${found}`
  return new StewardError('ERR_LISTEN', message, cause === undefined ? {} : { cause })
}

import { once } from 'node:events'
import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync, type Stats } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'

/** The longest path that a socket's address holds everywhere, in bytes. */
const LONGEST_PATH = 103

/** Two services and a person at a terminal need no more than the rights of their user. */
const OWNER_ONLY = 0o700

/** Where the control sockets of this user's services may lie: `<folder>/<pid>.sock`. The first that can be used is. */
export function controlFolders(env: NodeJS.ProcessEnv): string[] {
  const { XDG_RUNTIME_DIR: runtime } = env
  const uid = process.getuid?.()
  // There are no such sockets on Windows
  if (uid === undefined) return []
  // What sudo has left of another user's environment is not ours
  const isOurs = runtime !== undefined && isAbsolute(runtime) && statOf(runtime)?.uid === uid
  return [...(isOurs ? [join(runtime, 'steward')] : []), join(tmpdir(), `steward-${uid}`)]
}

/** The socket of a process in a folder of its user. */
export function controlPath(folder: string, pid: number): string {
  return join(folder, `${pid}.sock`)
}

/** Makes a folder for control sockets, unless it is there and nobody else may enter it. Gives what stands in the way, if anything does. */
export function takeFolder(folder: string): string | undefined {
  try {
    mkdirSync(folder, { mode: OWNER_ONLY })
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') return `its folder cannot be made (${codeOf(error)})`
  }
  // Anybody may have made it before, in a temporary folder
  const there = statOf(folder)
  if (!there?.isDirectory() || there.uid !== process.getuid?.()) {
    return 'its folder belongs to another user, or is none'
  }
  return (there.mode & 0o077) === 0 ? undefined : 'others may enter its folder; chmod 700 helps'
}

/** Makes room for a socket: removes one that a process left behind. Gives what stands in the way, if anything does. */
export async function clearPath(path: string): Promise<string | undefined> {
  if (Buffer.byteLength(path) > LONGEST_PATH) {
    return `its path is too long for a socket; ${LONGEST_PATH} bytes are the most`
  }
  // The system calls a folder that is missing one that may not be written to
  if (!existsSync(dirname(path))) return 'its folder does not exist'
  const there = statOf(path)
  if (!there) return undefined
  if (!there.isSocket()) return 'something else than a socket is there'
  if ((await knock(path)) !== 'stale') return 'another service has it'
  return remove(path)
}

/** The sockets in these folders behind which a process listens; those behind which none does any more are removed. */
export async function livePaths(folders: readonly string[]): Promise<string[]> {
  const paths = folders.flatMap((folder) => socketsIn(folder))
  const found = await Promise.all(paths.map(async (path) => ({ path, is: await knock(path) })))
  for (const { path } of found.filter(({ is }) => is === 'stale')) remove(path)
  return found.filter(({ is }) => is === 'live').map(({ path }) => path)
}

function socketsIn(folder: string): string[] {
  // In a folder of somebody else's making lies what he wants us to find
  const there = statOf(folder)
  if (!there?.isDirectory() || there.uid !== process.getuid?.()) return []
  try {
    const names = readdirSync(folder).filter((name) => /^\d+\.sock$/.test(name))
    return names.map((name) => join(folder, name))
  } catch {
    return []
  }
}

/** Is somebody there? `stale`: its process is gone. */
async function knock(path: string): Promise<'live' | 'stale' | 'unknown'> {
  const socket = net.connect(path)
  try {
    await once(socket, 'connect')
    return 'live'
  } catch (error) {
    if (codeOf(error) === 'ECONNREFUSED' || codeOf(error) === 'ENOENT') return 'stale'
    // Its queue is full: somebody listens
    return codeOf(error) === 'EAGAIN' ? 'live' : 'unknown'
  } finally {
    socket.destroy()
  }
}

function remove(path: string): string | undefined {
  try {
    rmSync(path, { force: true })
    return undefined
  } catch (error) {
    return `a socket was left behind there, and cannot be removed (${codeOf(error)})`
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

/** The system's name for what went wrong. */
export function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code)
}

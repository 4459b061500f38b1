import { StewardError } from '../base/errors.ts'
import type { BindTarget } from '../http/binding.ts'
import type { Places } from './places.ts'

/** The first descriptor that systemd passes; the others follow it. */
const FIRST = 3

/** What is passed with the sockets: theirs alone, so no child may take them for its own. */
const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID'] as const

/** A listening socket that systemd has passed on. */
interface PassedSocket {
  readonly fd: number
  /** Its `FileDescriptorName=`, or the name of its socket unit. */
  readonly name: string
}

/** The process as socket activation sees it: its environment, its id, and the command that started it. */
export type ActivatedProcess = Pick<
  NodeJS.Process,
  'env' | 'pid' | 'execPath' | 'execArgv' | 'argv'
>

/** Where to listen after all, and what is to be said about it. */
interface Activation {
  readonly targets: readonly BindTarget[]
  readonly warnings: readonly string[]
}

/**
 * Where to listen when systemd may have passed sockets on (sd_listen_fds(3)): on all of them, unless a place was named. The
 * variables are removed from the environment.
 *
 * A place that was named wins; each socket that nobody accepts on is warned about then, since its clients wait for ever.
 *
 * @throws `ERR_BAD_OPTION` when LISTEN_FDS is no number
 */
export function activate(places: Places, activated: ActivatedProcess): Activation {
  const { sockets, warnings } = takeSockets(activated)
  const isPassed = !places.given && sockets.length > 0
  const targets = isPassed ? sockets.map(({ fd }) => ({ fd })) : places.targets()
  const used = new Set(targets.map((target) => ('fd' in target ? target.fd : undefined)))
  const unused = sockets.filter(({ fd }) => !used.has(fd))
  if (unused.length > 0) warnings.push(notUsed(unused))
  return { targets, warnings }
}

/** Has systemd passed sockets to this very process? */
export function isActivated({ env, pid }: ActivatedProcess): boolean {
  return env['LISTEN_PID'] === String(pid) && Number(env['LISTEN_FDS'] ?? 0) > 0
}

/** Takes what was passed to this very process out of its environment. */
function takeSockets(activated: ActivatedProcess): {
  sockets: PassedSocket[]
  warnings: string[]
} {
  const { env, pid } = activated
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = env
  for (const name of VARIABLES) delete env[name]
  if (!LISTEN_PID || !LISTEN_FDS) return { sockets: [], warnings: [] }
  if (LISTEN_PID !== String(pid)) {
    return { sockets: [], warnings: [notForUs(LISTEN_PID, activated)] }
  }
  const names = LISTEN_FDNAMES.split(':')
  const sockets = Array.from({ length: countOf(LISTEN_FDS) }, (_, index) => ({
    fd: FIRST + index,
    name: names[index] || 'unknown',
  }))
  return { sockets, warnings: [] }
}

function countOf(text: string): number {
  // Nobody has a thousand socket units for one service, and a list is made of them
  if (/^\d{1,3}$/.test(text)) return Number(text)
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot listen on the environment's LISTEN_FDS=${JSON.stringify(text)}: it is no number of sockets, leave it to systemd to set it`,
  )
}

function notForUs(other: string, { pid, execPath, execArgv, argv }: ActivatedProcess): string {
  const command = [execPath, ...execArgv, ...argv.slice(1)].map(quoted).join(' ')
  return `systemd's sockets are not used: LISTEN_PID=${other} is another process than this one, ${pid}; start node itself, and not through npx, npm or a shell: ExecStart=${command}`
}

function notUsed(sockets: readonly PassedSocket[]): string {
  const which = sockets.map(({ fd, name }) => `"${name}" (descriptor ${fd})`).join(', ')
  return `Nobody accepts on what systemd has passed as ${which}, and its clients wait: another place to listen on was given; give no place, or remove the socket unit`
}

/** As a unit file takes it: there, % and $ begin a variable. */
function quoted(word: string): string {
  const escaped = word.replaceAll('%', '%%').replaceAll('$', '$$$$')
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : JSON.stringify(escaped)
}

import { describe, StewardError } from '../base/errors.ts'
import type { BindTarget } from '../http/binding.ts'
import type { ServeOptions } from './options.ts'

/** Where a service is to listen, as it was told. */
export interface Places {
  /** Was any place named? */
  readonly given: boolean
  /** Those that were, or the default. @throws `ERR_BAD_OPTION` for a PORT that is none */
  targets(): BindTarget[]
}

/** The port where nobody names one. */
export const DEFAULT_PORT = 3000

/** Everything that the options name, in the order of address, `bind`, Unix socket, descriptor. @throws `ERR_BAD_OPTION` */
export function placesOf(options: ServeOptions): Places {
  const { port, host, unix, fd, bind } = options
  const named: BindTarget[] = wordsOf(bind).map(parseBind)
  if (unix !== undefined) named.push({ path: unix })
  if (fd !== undefined) named.push({ fd })
  const isAddress = port !== undefined || host !== undefined
  const given = isAddress || named.length > 0
  return { given, targets: () => (isAddress || !given ? [addressOf(options), ...named] : named) }
}

function addressOf({ port, host }: ServeOptions): BindTarget {
  const given = port ?? portFromEnvironment()
  const isOurs = port !== undefined || given === undefined
  return { port: given ?? DEFAULT_PORT, host: host ?? (isOurs ? '127.0.0.1' : '::') }
}

function wordsOf(bind: ServeOptions['bind']): readonly string[] {
  if (bind === undefined) return []
  const words: readonly unknown[] = Array.isArray(bind) ? bind : [bind]
  const wrong = words.find((word) => typeof word !== 'string')
  if (wrong !== undefined || words.length === 0) {
    const found = describe(words.length === 0 ? bind : wrong)
    throw new StewardError('ERR_BAD_OPTION', `Cannot listen on ${found} as "bind": ${FORMS}`)
  }
  return words as readonly string[]
}

const FORMS = 'give host:port, unix:path or fd://number'

function parseBind(bind: string): BindTarget {
  const [, path] = /^unix:(?:\/\/)?(.+)$/.exec(bind) ?? []
  if (path !== undefined) return { path }
  const [, fd] = /^fd:\/\/(\d+)$/.exec(bind) ?? []
  if (fd !== undefined) return { fd: Number(fd) }
  const [, host, port] = /^(?:\[?([^\]]*?)\]?:)?(\d+)$/.exec(bind) ?? []
  if (port !== undefined && Number(port) <= 65_535) {
    return { port: Number(port), host: host || '127.0.0.1' }
  }
  throw new StewardError('ERR_BAD_OPTION', `Cannot listen on "${bind}": ${FORMS}`)
}

function portFromEnvironment(): number | undefined {
  const { PORT: given } = process.env
  if (!given) return undefined
  if (/^\d+$/.test(given) && Number(given) <= 65_535) return Number(given)
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot listen on the environment's PORT=${JSON.stringify(given)}: it is no port, set a number from 0 to 65535, or none`,
  )
}

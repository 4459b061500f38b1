import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Server } from 'node:net'
import { join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describeError, isStewardError, StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import { isApp, notUsable, ServiceDefinition, serviceOf } from '../service/service.ts'

/** What is to be loaded, and what before it. */
export interface LoadOptions {
  envFile?: string
  import?: readonly string[]
}

/** A module's service, and the port that it names, if it does: `export default { fetch, port }`. */
export interface Loaded {
  readonly definition: ServiceDefinition
  readonly port: number | undefined
}

/**
 * Loads a module and takes its default export: a service, or an app.
 *
 * @throws `ERR_MODULE_NOT_FOUND`, `ERR_MODULE_THREW`, `ERR_MODULE_NO_DEFAULT`, `ERR_MODULE_LISTENS`, `ERR_APP_NOT_USABLE`,
 * `ERR_BAD_OPTION`
 */
export async function load(module: string, options: LoadOptions): Promise<Loaded> {
  if (options.envFile !== undefined) loadEnvironment(options.envFile)
  const file = find(module)
  for (const first of options.import ?? []) await loadFirst(first)
  const given = defaultOf(module, await importQuietly(module, file))
  const port = isApp(given) ? (given as { port?: unknown }).port : undefined
  return { definition: serviceOf(given), port: typeof port === 'number' ? port : undefined }
}

/** Node itself reads an `--env-file` wherever it stands, and refuses a bad one, unless it was started with `--`. */
function loadEnvironment(file: string): void {
  try {
    process.loadEnvFile(file)
  } catch (cause) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot load the environment from "${file}": ${describeError(cause)}`,
      { cause },
    )
  }
}

/** The file of a module. @throws `ERR_MODULE_NOT_FOUND` */
export function find(module: string): string {
  const file = resolve(module)
  const there = statSync(file, { throwIfNoEntry: false })
  if (there?.isFile()) return file
  const found = there?.isDirectory()
    ? 'it is a folder'
    : `there is no such file in ${process.cwd()}`
  throw new StewardError(
    'ERR_MODULE_NOT_FOUND',
    `Cannot serve "${module}": ${found}${near(module, file)}`,
  )
}

function near(module: string, file: string): string {
  if (/\.\w+:\w+$/.test(module)) return '; give the file alone, its default export is served'
  const stem = file.replace(/\.\w+$/, '')
  const endings = ['.ts', '.js', '.mts', '.mjs', '/index.ts', '/index.js']
  const candidate = endings.map((ending) => stem + ending).find((path) => existsSync(path))
  return candidate
    ? `, but there is ${relative(process.cwd(), candidate)}`
    : '; give the path of the module that exports your service or app'
}

async function loadFirst(specifier: string): Promise<void> {
  try {
    await import(locate(specifier))
  } catch (cause) {
    const missing = (cause as { code?: string } | null)?.code === 'ERR_MODULE_NOT_FOUND'
    throw new StewardError(
      missing ? 'ERR_MODULE_NOT_FOUND' : 'ERR_MODULE_THREW',
      `Cannot load "${specifier}" first: ${firstLine(describeError(cause))}${missing ? '; install it in the project' : ''}`,
      { cause },
    )
  }
}

/** A package is looked for where the user is, not where this one is installed. */
function locate(specifier: string): string {
  if (/^[./]/.test(specifier)) return pathToFileURL(resolve(specifier)).href
  const here = createRequire(join(process.cwd(), 'package.json'))
  try {
    return pathToFileURL(here.resolve(specifier)).href
  } catch {
    return specifier
  }
}

/** Imports it, and lets nothing listen meanwhile: the command is what listens. */
async function importQuietly(module: string, file: string): Promise<Record<string, unknown>> {
  const guard = refuseListening(module)
  const unfinished = failUnfinished(module)
  try {
    const importing = import(pathToFileURL(file).href) as Promise<Record<string, unknown>>
    const loaded = await Promise.race([importing, unfinished.failed])
    if (guard.refused) throw guard.refused
    return loaded
  } catch (error) {
    throw guard.refused ?? threw(module, error)
  } finally {
    guard.release()
    unfinished.release()
  }
}

/** With nothing left to wait for, Node ends a process in the middle of a top-level `await`: this fails first. */
function failUnfinished(module: string): { failed: Promise<never>; release: Release } {
  const { promise, reject } = Promise.withResolvers<never>()
  const fail = (): void =>
    reject(
      new StewardError(
        'ERR_MODULE_THREW',
        `Cannot load "${module}": it awaits something that never comes; see what it awaits at its top level, or do that in a resource, which has an openTimeout`,
      ),
    )
  process.once('beforeExit', fail)
  return { failed: promise, release: () => process.off('beforeExit', fail) }
}

interface ListenGuard {
  refused: StewardError | undefined
  readonly release: Release
}

function refuseListening(module: string): ListenGuard {
  const { listen } = Server.prototype
  const release = (): void => void (Server.prototype.listen = listen)
  const guard: ListenGuard = { refused: undefined, release }
  Server.prototype.listen = () => {
    guard.refused = new StewardError(
      'ERR_MODULE_LISTENS',
      `Cannot serve "${module}": it calls listen() itself while it is loaded; take the call away and export the app: export default app`,
    )
    throw guard.refused
  }
  return guard
}

function threw(module: string, error: unknown): unknown {
  // Wrong use of our own functions says what it is
  if (isStewardError(error)) return error
  const { code } = (error ?? {}) as { code?: string }
  return new StewardError(
    code === 'ERR_MODULE_NOT_FOUND' ? 'ERR_MODULE_NOT_FOUND' : 'ERR_MODULE_THREW',
    `Cannot load "${module}": ${firstLine(describeError(error))}${adviceFor(error)}`,
    { cause: error },
  )
}

function adviceFor(error: unknown): string {
  const { code, name, message = '' } = (error ?? {}) as { [key in string]?: string }
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX' || code === 'ERR_UNKNOWN_FILE_EXTENSION') {
    return '; Node strips types only, for the rest add --import tsx'
  }
  if (name === 'SyntaxError' && message === 'Invalid or unexpected token') {
    return '; if that is a decorator: Node strips types only, compile it first, as npx nest build does'
  }
  if (code === 'ERR_MODULE_NOT_FOUND') return '; install it, or write its path with its extension'
  if (name === 'ReferenceError' && message.includes('before initialization')) {
    return '; most likely two modules import each other: move what both need into a third'
  }
  return ''
}

/** Parsers show the source below the sentence. */
function firstLine(text: string): string {
  return text.split('\n', 1)[0]!
}

function defaultOf(module: string, loaded: Record<string, unknown>): unknown {
  const { given, others } = COMMONJS in loaded ? ofCommonJs(loaded) : ofModule(loaded)
  if (given === undefined) throw noDefault(module, others, COMMONJS in loaded)
  if (given instanceof ServiceDefinition || isApp(given)) return given
  if (given?.constructor?.name === SERVICE) {
    throw new StewardError(
      'ERR_APP_NOT_USABLE',
      `Cannot serve "${module}": its service was made by another copy of steward than this command; use the project's own, npx steward`,
    )
  }
  throw notUsable(given, module)
}

/** What a module exports: by default, and the names of the rest. */
interface Exported {
  readonly given: unknown
  readonly others: readonly string[]
}

/** Under which Node gives the `module.exports` of a CommonJS module, beside the default export. */
const COMMONJS = 'module.exports'

function ofModule(loaded: Record<string, unknown>): Exported {
  return { given: loaded['default'], others: Object.keys(loaded) }
}

/** `module.exports` is the app, or a compiler has put what was exported on it. */
function ofCommonJs({ [COMMONJS]: exported }: Record<string, unknown>): Exported {
  if (Object.getPrototypeOf(exported ?? 0) !== Object.prototype || isApp(exported)) {
    return { given: exported, others: [] }
  }
  const record = exported as Record<string, unknown>
  return { given: record['default'], others: Object.keys(record) }
}

const SERVICE = ServiceDefinition.name

function noDefault(module: string, names: readonly string[], isCommonJs: boolean): StewardError {
  const others = names.filter((name) => name !== 'default' && name !== COMMONJS)
  const has =
    others.length > 0 ? `it exports ${others.slice(0, 5).join(', ')}` : 'it exports nothing'
  const app = others.length === 1 ? others[0] : 'app'
  const write = isCommonJs ? `module.exports = ${app}` : `export default ${app}`
  return new StewardError(
    'ERR_MODULE_NO_DEFAULT',
    `Cannot serve "${module}": it has no default export, ${has}; write: ${write}`,
  )
}

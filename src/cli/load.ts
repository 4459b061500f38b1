import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Server } from 'node:net'
import { join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, describeError, isStewardError, StewardError } from '../base/errors.ts'
import { isApp, serviceOf, type ServiceDefinition } from '../service/service.ts'

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

function loadEnvironment(file: string): void {
  try {
    process.loadEnvFile(file)
  } catch (cause) {
    throw new StewardError('ERR_BAD_OPTION', `Cannot load the environment from "${file}": ${describeError(cause)}`, { cause })
  }
}

function find(module: string): string {
  const file = resolve(module)
  if (existsSync(file) && statSync(file).isFile()) return file
  const hint = near(module, file)
  throw new StewardError('ERR_MODULE_NOT_FOUND', `Cannot serve "${module}": there is no such file in ${process.cwd()}${hint}`)
}

function near(module: string, file: string): string {
  if (/\.\w+:\w+$/.test(module)) return '; give the file alone, its default export is served'
  const stem = file.replace(/\.\w+$/, '')
  const endings = ['.ts', '.js', '.mts', '.mjs', '/index.ts', '/index.js']
  const candidate = endings.map((ending) => stem + ending).find((path) => existsSync(path))
  return candidate ? `, but there is ${relative(process.cwd(), candidate)}` : '; give the path of the module that exports your service or app'
}

async function loadFirst(specifier: string): Promise<void> {
  try {
    await import(locate(specifier))
  } catch (cause) {
    throw new StewardError('ERR_MODULE_NOT_FOUND', `Cannot load "${specifier}" first: ${describeError(cause)}`, { cause })
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
  try {
    const loaded = (await import(pathToFileURL(file).href)) as Record<string, unknown>
    if (guard.refused) throw guard.refused
    return loaded
  } catch (error) {
    throw guard.refused ?? threw(module, error)
  } finally {
    guard.release()
  }
}

function refuseListening(module: string): { refused: StewardError | undefined; release: () => void } {
  const { listen } = Server.prototype
  const guard = { refused: undefined as StewardError | undefined, release: () => void (Server.prototype.listen = listen) }
  Server.prototype.listen = () => {
    guard.refused = new StewardError(
      'ERR_MODULE_LISTENS',
      `Cannot serve "${module}": it calls listen() itself while it is loaded; take the call away and write: export default app`,
    )
    throw guard.refused
  }
  return guard
}

function threw(module: string, error: unknown): unknown {
  // Wrong use of our own functions says what it is
  if (isStewardError(error)) return error
  return new StewardError('ERR_MODULE_THREW', `Cannot load "${module}": ${describeError(error)}${adviceFor(error)}`, { cause: error })
}

function adviceFor(error: unknown): string {
  const { code, name, message = '' } = (error ?? {}) as { code?: string; name?: string; message?: string }
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX' || code === 'ERR_UNKNOWN_FILE_EXTENSION') {
    return '; Node strips types only, for the rest add --import tsx'
  }
  if (name === 'ReferenceError' && message.includes('before initialization')) {
    return '; most likely two modules import each other: move what both need into a third'
  }
  return ''
}

function defaultOf(module: string, loaded: Record<string, unknown>): unknown {
  if (loaded['default'] === undefined) {
    const names = Object.keys(loaded).filter((name) => name !== 'default')
    const has = names.length > 0 ? `it exports ${names.slice(0, 5).join(', ')}` : 'it exports nothing'
    const write = names.length === 1 ? `export default ${names[0]}` : 'export default app'
    throw new StewardError('ERR_MODULE_NO_DEFAULT', `Cannot serve "${module}": it has no default export, ${has}; write: ${write}`)
  }
  const given = loaded['default']
  if (!isApp(given) && (given as { constructor?: { name?: string } } | null)?.constructor?.name === 'ServiceDefinition') {
    checkSameCopy(module, given)
  }
  return given
}

function checkSameCopy(module: string, given: unknown): void {
  try {
    serviceOf(given)
  } catch {
    throw new StewardError(
      'ERR_APP_NOT_USABLE',
      `Cannot serve "${module}": ${describe(given)} was made by another copy of steward than this command; use the project's own, npx steward`,
    )
  }
}

import { once } from 'node:events'
import net from 'node:net'
import { resolve } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { StewardError } from '../base/errors.ts'
import { realWorld } from '../base/world.ts'
import { codeOf, controlFolders, controlPath, livePaths } from '../supervisor/control-place.ts'
import type { Answer, Done, Request } from '../supervisor/requests.ts'

/** How long a service may take for an answer that waits for nothing, in milliseconds. */
const PROMPT = 5_000

/** Which service is meant: by the path of its control socket, or by its process; otherwise the only one that runs. */
export interface Which {
  readonly control?: string
  readonly pid?: number
}

/** A connection to the control socket of a service. */
export class Asking implements Disposable {
  readonly path: string
  readonly #socket: net.Socket
  readonly #lines: Interface
  readonly #ended: Promise<void>

  private constructor(path: string, socket: net.Socket) {
    this.path = path
    this.#socket = socket
    this.#lines = createInterface({ input: socket })
    // What went wrong is seen as an answer that does not come
    socket.on('error', () => {})
    this.#ended = new Promise((end) => socket.once('close', () => end()))
  }

  /** @throws `ERR_NOT_RUNNING` when nobody listens there, `ERR_CONTROL` when it is another user's */
  static async at(path: string): Promise<Asking> {
    const socket = net.connect(path)
    try {
      await once(socket, 'connect')
      return new Asking(path, socket)
    } catch (cause) {
      throw unreachable(path, codeOf(cause))
    }
  }

  /** The answer to a request. @throws `ERR_CONTROL` with the service's own sentence, or when no answer comes */
  async ask<What extends Request>(request: What): Promise<Done[What['do']]> {
    const line = this.#line(request)
    this.#socket.write(`${JSON.stringify(request)}\n`)
    const text = await line
    const answer = JSON.parse(text) as Answer
    if (answer.ok) return answer as unknown as Done[What['do']]
    throw new StewardError('ERR_CONTROL', answer.error)
  }

  /** Resolves when the service's process is gone. */
  get ended(): Promise<void> {
    return this.#ended
  }

  [Symbol.dispose](): void {
    this.#lines.close()
    this.#socket.destroy()
  }

  /** The next line. Only what is waited for may take its time. */
  #line(request: Request): Promise<string> {
    const { promise, resolve: take, reject } = Promise.withResolvers<string>()
    const fail = (found: string): void =>
      reject(new StewardError('ERR_CONTROL', `Cannot ${verb(request)}: ${found}`))
    this.#lines.once('line', take)
    void this.#ended.then(() => fail('the service has ended before it answered'))
    const waits = 'wait' in request && request.wait
    const late = 'the service does not answer; its log may say why'
    const release = waits ? () => {} : realWorld.timer(PROMPT, () => fail(late))
    return promise.finally(release)
  }
}

/**
 * The services that are meant: the one that is named, or all of this user's. Never none.
 *
 * @throws `ERR_NOT_RUNNING`
 */
export async function findServices({ control, pid }: Which, todo: string): Promise<Asking[]> {
  if (control !== undefined) return [await Asking.at(resolve(control))]
  const folders = controlFolders(process.env)
  const live = await livePaths(folders)
  const wanted = folders.map((folder) => controlPath(folder, pid ?? 0))
  const paths = pid === undefined ? live : live.filter((path) => wanted.includes(path))
  if (paths.length === 0) throw notRunning(pid, todo)
  const found = await Promise.allSettled(paths.map((path) => Asking.at(path)))
  const services = found.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  // They have ended meanwhile
  if (services.length === 0) throw notRunning(pid, todo)
  return services
}

/**
 * The one service that is meant.
 *
 * @throws `ERR_NOT_RUNNING`; `ERR_BAD_OPTION`, with a list, when there are several
 */
export async function findService(which: Which, todo: string): Promise<Asking> {
  const services = await findServices(which, todo)
  const [only] = services
  if (services.length === 1) return only!
  const lines = await Promise.all(services.map((one) => describeService(one)))
  for (const one of services) one[Symbol.dispose]()
  const message = `Cannot ${todo} without knowing which: ${services.length} services run; give one with --pid:\n${lines.join('\n')}`
  throw new StewardError('ERR_BAD_OPTION', message)
}

async function describeService(asking: Asking): Promise<string> {
  try {
    const { status } = await asking.ask({ do: 'status' })
    return `  --pid ${status.pid}  ${status.service}  ${status.url}  ${status.state}`
  } catch {
    return `  --control ${asking.path}  does not answer`
  }
}

function verb(request: Request): string {
  return request.do === 'status' ? 'tell its status' : request.do
}

function notRunning(pid: number | undefined, todo: string): StewardError {
  const found =
    pid === undefined
      ? 'none runs under a supervisor as this user; start one with steward serve, or say with --control where its socket is'
      : `process ${pid} is none that runs under a supervisor as this user; steward status shows which there are`
  return new StewardError('ERR_NOT_RUNNING', `Cannot find a service to ${todo}: ${found}`)
}

function unreachable(path: string, code: string): StewardError {
  if (code === 'EACCES' || code === 'EPERM') {
    const found = `it belongs to another user (${code}); ask as that one`
    return new StewardError('ERR_CONTROL', `Cannot use the control socket ${path}: ${found}`)
  }
  const found = `no service listens there (${code}); is it the path of its --control?`
  return new StewardError('ERR_NOT_RUNNING', `Cannot use the control socket ${path}: ${found}`)
}

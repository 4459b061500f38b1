import type { IncomingMessage } from 'node:http'
import type { Emit } from '../base/events.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { Speaker } from '../http/connections.ts'
import type { Ended, WhenOver } from '../http/exchange.ts'
import type { App } from '../scope/app.ts'
import { pathTo, type Plan } from '../scope/graph.ts'
import { appKind, handlerKind, requestKind } from '../scope/kind.ts'
import type { Ending, Resources } from '../scope/resource.ts'
import { Failure } from '../scope/failure.ts'
import type { Inputs, Scope } from '../scope/scope.ts'
import { requestInfoOf, type RequestInfo, type Routed } from './request.ts'

/** What a visit needs of the running service. */
export interface Host {
  readonly app: App
  readonly emit: Emit
}

/** The life of one request as whoever serves it sees it: an `Exchange` over HTTP, or a `fetch` call. */
export interface Transport {
  /** Aborted when the client has gone, or the grace is spent. */
  readonly signal: AbortSignal
  /** Why it was answered or cut in the handler's place, once it was: what the handler does then reaches nobody. */
  readonly refused: StewardError | undefined
  /** Set when what the handler has answered is being committed: until its head has left, the answer is kept at T2. */
  committing: boolean
  /** Who speaks in its answer, and can end that when the service stops. */
  speaker: Speaker | undefined
  waitUntil(work: Promise<unknown>): void
  whenOver(close: WhenOver): void
  /** It did not go well, though it may be answered. The first error counts. */
  fail(error: unknown): void
  /** Tells that the request failed, as `request.failed`: once for each error. */
  tellFailed(error: unknown, path?: readonly string[]): void
}

/** What a framework's own context tells of its request. Hono's fits as it is. */
export interface FrameworkContext {
  /** What was thrown; the framework has answered for it. */
  readonly error?: unknown
  /** `param()` gives the path parameters of the route that is being handled. */
  readonly req: { param(): Readonly<Record<string, string>> }
}

/**
 * One request in a running service: its request scope and its handler scope, begun at first need. Held by its request;
 * over when the handler has settled and the response is over.
 *
 * It is what Hono's `c.executionCtx` gives, too, and what the built-in resources of its scope read.
 */
export class Visit {
  readonly host: Host
  readonly transport: Transport
  /** For the built-in resource `context`: set by the framework's door, to the innermost one. */
  context: FrameworkContext | undefined = undefined
  /** For the built-in resource `response`: set by Node's door. */
  response: unknown = undefined
  /** For the built-in resource of the same name: set by Fastify's door. */
  reply: unknown = undefined
  /** The same by Express's door. */
  res: unknown = undefined
  /** The same by Koa's door. */
  ctx: unknown = undefined
  /** What has the path parameters of the route, where that is not Hono's context: set by the framework's door. */
  routed: Routed | undefined = undefined
  /** For the built-in resource `socket`: set by a door where the request becomes one. */
  socket: unknown = undefined
  #source: IncomingMessage | Request
  #scope: Scope | undefined = undefined
  #handler: Scope | undefined = undefined
  #info: RequestInfo | undefined = undefined
  /** Handlers that their framework does not wait for, and that have not settled. */
  #out = 0
  /** Told when no more of them are out than they want. */
  #awaited: Awaited[] | undefined = undefined
  /** Called when something has failed: set by whoever holds an answer that is not to be given then. */
  whenFailed: (() => void) | undefined = undefined
  #failure: { error: unknown } | undefined = undefined

  constructor(host: Host, transport: Transport, source: IncomingMessage | Request) {
    this.host = host
    this.transport = transport
    this.#source = source
  }

  /** For the built-in resource `request`. */
  get request(): RequestInfo {
    return (this.#info ??= requestInfoOf(this.#source, this))
  }

  /** Nobody will ask for the request any more, nor for the framework's context of it. */
  forgetRequest(): void {
    this.context = undefined
    this.#source = NOTHING
  }

  /** For the built-in resource `signal`. */
  get signal(): AbortSignal {
    return this.transport.signal
  }

  /** The path parameters of the route, where the framework has routes. */
  get params(): Readonly<Record<string, string>> {
    return this.routed?.params ?? this.context?.req.param() ?? {}
  }

  /** Work that outlives the response: best effort, and the drain waits for it. */
  waitUntil(work: Promise<unknown>): void {
    this.transport.waitUntil(Promise.resolve(work))
  }

  /** Part of the contract of an execution context; nothing can be passed through here. */
  passThroughOnException(): void {}

  /** Part of the contract of an execution context. */
  get props(): Record<string, never> {
    return {}
  }

  /** The request's scope, the same for every middleware and the handler. @throws `ERR_SCOPE_CLOSED` while the app closes */
  get scope(): Scope {
    return (this.#scope ??= this.#enter())
  }

  #enter(): Scope {
    const scope = this.host.app.scope.enter(requestKind, this as unknown as Inputs)
    // Its closing is in the hands of the transport
    scope.working = true
    this.transport.whenOver((ended) => {
      const end = (): Promise<void> | undefined => scope.end(this.#endingOf(ended))
      return this.handlersIn()?.then(end) ?? end()
    })
    return scope
  }

  /** A handler begins that its framework does not wait for: whoever says so says `handlerEnds` when it has settled. */
  handlerBegins(): void {
    this.#out++
  }

  /** It has settled. */
  handlerEnds(): void {
    this.#out--
    for (const { but, resolve } of this.#awaited ?? []) if (this.#out <= but) resolve()
  }

  /** Waits until no handlers are out but so many. Gives nothing when that is so. */
  handlersIn(but: number = 0): Promise<void> | undefined {
    if (this.#out <= but) return undefined
    return new Promise((resolve) => (this.#awaited ??= []).push({ but, resolve }))
  }

  /** It did not go well, though the framework may answer. The first error counts. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.transport.fail(error)
    this.whenFailed?.()
  }

  /** What was failed with, if anything was. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure
  }

  /** What a handler came to after its client had left counts, too. */
  #endingOf(ended: Ended): Ending {
    const late = !ended.failed && this.#failure
    return endingOf(late ? { ...ended, failed: true, ...late } : ended, this.context)
  }

  /** The handler's scope, while there is one. */
  get handlerScope(): Scope | undefined {
    return this.#handler
  }

  /** Begins the handler's scope: whoever does so ends it. */
  enterHandler(): Scope {
    return (this.#handler = this.scope.enter(handlerKind))
  }

  /** The handler's scope has ended, or is about to. */
  leaveHandler(): void {
    this.#handler = undefined
  }

  /**
   * Opens a plan for this request. Gives nothing when all of it was synchronous. What it throws or rejects with is to be
   * thrown as `ownError` of it.
   */
  open(plan: Plan): Promise<void> | undefined {
    return this.scopeFor(plan).open(plan)
  }

  /** The scope that a plan is opened in, and has its values from: what only wants the app's needs none of its own. */
  scopeFor(plan: Plan): Scope {
    if (plan.kind === appKind) return this.host.app.scope
    return this.#handler ?? this.scope
  }

  /** The opener's own error, as it is: a 401 stays a 401; its path is told as `request.failed` (R19). */
  ownError(error: unknown, plan: Plan): unknown {
    if (!(error instanceof Failure)) return error
    this.transport.tellFailed(error.error, pathTo(plan, error.step))
    return error.error
  }

  /** Ends a handler scope that did not go well. The answer has been decided by that: what the closing adds is told as an error. */
  async endFailed(scope: Scope, ending: Ending): Promise<void> {
    this.leaveHandler()
    try {
      await scope.end(ending)
    } catch (error) {
      const { method, url } = this.request
      const message = `Closing the handler scope failed for ${method} ${url.pathname}`
      this.host.emit({ type: 'error', message, error })
    }
  }
}

/** Who waits for handlers: until no more than `but` of them are out. */
interface Awaited {
  readonly but: number
  readonly resolve: () => void
}

/** In the place of a request that was forgotten. */
const NOTHING = { rawHeaders: [], headers: {}, socket: {} } as unknown as IncomingMessage

/** How a scope ended, from what became of the request: *ok* is nothing thrown and a status below 400 (R11). */
function endingOf({ failed, error, status }: Ended, context: FrameworkContext | undefined): Ending {
  if (!failed && context?.error === undefined) {
    return status === undefined ? { ok: true } : { ok: status < 400, status }
  }
  const known = status === undefined ? {} : { status }
  return { ok: false, error: failed ? error : context?.error, ...known }
}

/** A plan that is found once per running service, for those who inject the same resources into every request. */
export class PlanFor {
  readonly #wanted: Resources
  #app: App | undefined
  #plan: Plan | undefined

  constructor(wanted: Resources) {
    this.#wanted = wanted
  }

  in(app: App): Plan {
    if (this.#app === app) return this.#plan!
    this.#plan = app.graph.plan(this.#wanted)
    this.#app = app
    return this.#plan
  }
}

/** The error of injecting where no service runs. */
export function noService(door: string): StewardError {
  return new StewardError(
    'ERR_NO_SERVICE',
    `Cannot inject here: this request did not come through a running service; start it with steward serve, serve(service(…)) or start(service(…)), or ${door}`,
  )
}

/** The error of a handler or middleware that was made by the door of another framework. */
export function wrongDoor(framework: string, found: unknown): StewardError {
  return new StewardError(
    'ERR_BAD_OPTION',
    `Cannot inject here: this inject() is for ${framework}, and was handed ${describe(found)} as its request; import it from the door of your framework`,
  )
}

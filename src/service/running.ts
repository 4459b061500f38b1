import type { Events } from '../base/events.ts'
import type { HealthReport } from '../scope/health.ts'
import type { PictureFormat } from '../scope/picture.ts'
import type { Fitting, Resources, Values } from '../scope/resource.ts'
import type { StopReport } from './stages.ts'

/** Where a service is in its life. */
export type ServiceState = 'starting' | 'running' | 'stopping' | 'draining' | 'closing' | 'closed'

/** A service that runs: made by `serve` or `start`. `await using` stops it at the end of the block. */
export interface Running extends AsyncDisposable {
  readonly state: ServiceState
  /** Where it is reached: `http://127.0.0.1:3000`, `unix:/run/shop.sock`; empty for `start`. */
  readonly url: string
  /** Everywhere it is reached, where it listens in several places; the first is `url`. */
  readonly urls: readonly string[]
  /** Everything that it tells, from now on. */
  readonly events: Events
  /** The environment for `app.request(path, init, running.env)` and `testClient(app, running.env)`: their handlers find this service. */
  readonly env: object
  /**
   * Answers a request without a connection, as the listener would; a path is taken as one on localhost. The request's scope
   * ends when the answer's body has been read.
   *
   * @throws `ERR_APP_NOT_USABLE` when the app is a Node listener, `ERR_STOPPING` when the service has stopped
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Opens resources for one piece of work outside a request: a script's, a timer's. @throws the work's own error, an opener's, `ERR_CLOSE`, `ERR_SCOPE_CLOSED` */
  run<const Wanted extends Resources, Result>(
    wanted: Wanted & Fitting<Wanted, string, never, 'a running service'>,
    work: (values: Values<Wanted>) => Result,
  ): Promise<Awaited<Result>>
  /** Asks every open resource with a `check`. */
  health(): Promise<HealthReport>
  /** Draws what stands on what. @default 'mermaid' */
  graph(format?: PictureFormat): string
  /** Stops in order, within the graceful timeout. Every caller gets the same promise, which never rejects: what failed is in the report. */
  stop(reason?: string): Promise<StopReport>
  /** Like a second signal: what is under way is cut, and everything closes within the close reserve. */
  force(reason?: string): Promise<StopReport>
  /** Resolves when it has stopped, whoever stopped it. */
  readonly closed: Promise<StopReport>
}

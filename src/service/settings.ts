import type { ServiceEvent } from '../base/events.ts'
import type { World } from '../base/world.ts'
import type { HttpServerOptions } from '../http/server.ts'
import type { Override } from '../scope/override.ts'
import type { ProbePaths } from './probes.ts'

/** How a service is run, in milliseconds where it is a time. */
export interface RunSettings {
  gracefulTimeout: number
  drainDelay: number
  /** What the server is made of, where it is not as usual. */
  http?: Pick<HttpServerOptions, 'tls' | 'http2' | 'limits' | 'refuseFrom'> | undefined
  /** The drain delay ends early when nothing has come for so long; absent: it lasts as long as it was told. */
  drainQuiet?: number | undefined
  probes: ProbePaths | false
  /** Do others accept on its sockets, where its stop does not say it? @default false */
  othersAccept?: boolean | undefined
  /** Has another process done already what the service does once? */
  isPrepared?: boolean | undefined
  /** Where notes are kept; absent: nowhere. */
  state?: string | undefined
  with?: readonly Override[] | undefined
  world?: World | undefined
  on?: ((event: ServiceEvent) => void) | undefined
}

/** How a service stops, where that is not as usual: others serve on. Times are in milliseconds. */
export interface StopManner {
  /** How long an idle connection may still send a last request. */
  idle?: number | undefined
  /** In the place of the service's own. */
  drainDelay?: number | undefined
  /** Do others go on accepting on the same sockets? */
  othersAccept?: boolean | undefined
  /** How long what is under way may take: at half of it signals are aborted. @default the grace without what is kept back for closing */
  drain?: number | undefined
  /** The same service goes on elsewhere, or soon again: clients of upgraded connections may come back at once. */
  restarts?: boolean | undefined
  /** They are told all at once, in the place of one after the other: in development nobody minds. */
  atOnce?: boolean | undefined
  /** Readiness is the service's: it does not turn when one of its workers leaves. */
  staysReady?: boolean | undefined
}

/** Why a worker is to stop: the whole service stops; a newer one takes its place; there are fewer from now on; it has served long enough. */
export type StopKind = 'stop' | 'roll' | 'scale' | 'retire'

/** How a worker does, as it says itself. */
export interface Figures {
  /** Requests whose handler ran, since its start. */
  readonly served: number
  /** Connections that are open. */
  readonly connections: number
  /** Requests that are under way. */
  readonly underWay: number
  /** For how long the oldest of them has been, in milliseconds; 0 without any. */
  readonly oldest: number
  /** The share of the time since its last beat in which its event loop was busy, from 0 to 1. */
  readonly busy: number
  /** By how much timers come too late, in milliseconds: the 99th percentile of some seconds. */
  readonly delay: number
  /** What its JavaScript heap holds, in bytes. */
  readonly heap: number
  /** What it holds of the machine's memory, in bytes. */
  readonly rss: number
}

/** Where the main thread of a worker is: its stack, in lines as Node prints them, or why that cannot be told. */
export type Whereabouts = { readonly stack: string } | { readonly trouble: string }

/** What the supervisor sends to a worker, over the channel that Node opens between them. */
export type ToWorker =
  | { t: 'stop'; kind: StopKind; reason: string }
  /** Like a second signal: cut what is under way, and close. */
  | { t: 'force'; reason: string }

/** What a worker sends to the supervisor. */
export type FromWorker =
  /** Its module is loaded: how long its stop may take, in milliseconds. */
  | { t: 'loaded'; grace: number }
  /** A step of the start is done: it gets more time. */
  | { t: 'progress' }
  | { t: 'ready' }
  /** Its start has failed: why, in one line. It ends its process. */
  | { t: 'failed'; reason: string }
  /** It lives, and its event loop turns. */
  | { t: 'beat'; figures: Figures; inspected: boolean }
  /** It wants to be replaced, and goes on until it is told to stop. */
  | { t: 'retire'; reason: string }
  /** It stops by itself, after an error that nobody caught or a second signal: it is to be replaced at once. */
  | { t: 'dying'; reason: string }
  /** It has stopped, cleanly or not: what follows is the end of its process. */
  | { t: 'closed'; clean: boolean }

/** Where a worker finds what it is, in its environment: its slot, and its descriptors. */
export const WORKER_VARIABLE = 'STEWARD_WORKER'

/** What that variable holds, as JSON. */
export interface WorkerPlace {
  readonly slot: number
  readonly generation: number
  /** What it listens on. */
  readonly fd: number
  /** Where it is asked for its stack: a line each, and one in answer. */
  readonly stack: number
  /** How often it tells how it does, in milliseconds. */
  readonly beat: number
}

/** Why a worker is to stop: the whole service stops; a newer one takes its place; or there are fewer from now on. */
export type StopKind = 'stop' | 'roll' | 'scale'

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
  /** It stops by itself, after an error that nobody caught or a signal of its own: it is to be replaced at once. */
  | { t: 'dying'; reason: string }
  /** It has stopped in order: what follows is the end of its process. */
  | { t: 'closed' }

/** Where a worker finds what it is, in its environment: its slot, and the sockets that it listens on. */
export const WORKER_VARIABLE = 'STEWARD_WORKER'

/** A listening socket that a worker has inherited, and the URL it is known by. */
export interface InheritedSocket {
  readonly fd: number
  readonly url: string
}

/** What that variable holds, as JSON. */
export interface WorkerPlace {
  readonly slot: number
  readonly generation: number
  readonly listen: readonly InheritedSocket[]
}

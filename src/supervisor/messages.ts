/** Why a worker is to stop: the whole service stops; a newer one takes its place; or there are fewer from now on. */
export type StopKind = 'stop' | 'roll' | 'scale'

/** An error as it is shown to whoever develops the service. */
export interface Failure {
  /** One sentence. */
  readonly message: string
  /** The same with where it was thrown, as a terminal shows it: its passwords are not in it. */
  readonly text: string
}

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
  /** Its start has failed: why, in one line, and all that is known of it. It ends its process. */
  | { t: 'failed'; reason: string; failure?: Failure }
  /** It stops by itself, after an error that nobody caught or a signal of its own: it is to be replaced at once. */
  | { t: 'dying'; reason: string; failure?: Failure }
  /** In development: it is about to load a file, or has looked for it in vain; and the digest of what is in it. */
  | { t: 'loads'; file: string; digest: string }
  /** It has stopped in order: what follows is the end of its process. */
  | { t: 'closed' }

/** Where a worker finds what it is, in its environment: its slot, and the descriptor that it listens on. */
export const WORKER_VARIABLE = 'STEWARD_WORKER'

/** What that variable holds, as JSON. */
export interface WorkerPlace {
  readonly slot: number
  readonly generation: number
  readonly fd: number
  /** It is reloaded whenever its code changes: it tells what it loads, and its stops are short. */
  readonly development?: boolean | undefined
  /** It is no worker but stands in for them: what it answers, in the place of the app. */
  readonly stub?: StubPlace | undefined
}

/** What a stub is told of what it stands in for. */
export interface StubPlace {
  /** Why no worker is ready, for those who may know: in development. */
  readonly failure?: Failure | undefined
}

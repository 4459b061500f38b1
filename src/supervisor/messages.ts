/**
 * Why a worker is to stop: the whole service stops; a newer one takes its place; a newer one waits for its end; there are fewer from now
 * on; it has served long enough.
 */
export type StopKind = 'stop' | 'roll' | 'handover' | 'scale' | 'retire'

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

/** An error as it is shown to whoever develops the service. */
export interface Failure {
  /** One sentence. */
  readonly message: string
  /** The same with where it was thrown, as a terminal shows it: its passwords are not in it. */
  readonly text: string
}

/** What the supervisor sends to a worker, over the channel that Node opens between them. */
export type ToWorker =
  /** It is loaded, and may open what it holds. */
  | { t: 'go' }
  | { t: 'stop'; kind: StopKind; reason: string }
  /** The inspector's port of its slot is free. */
  | ({ t: 'inspect' } & InspectorPlace)
  /** Like a second signal: cut what is under way, and close. */
  | { t: 'force'; reason: string }

/** What a worker sends to the supervisor. */
export type FromWorker =
  /** Its module is loaded, nothing is open: it waits for `go`. */
  | ({ t: 'loaded' } & LoadedService)
  /** Its module names another port than the default one, and nobody has named a place: it ends, and the next one listens there. */
  | { t: 'elsewhere'; port: number }
  /** It leaves notes in that folder. */
  | { t: 'journal'; folder: string }
  /** A step of the start is done: it gets more time. */
  | { t: 'progress' }
  | { t: 'ready' }
  /** Its start has failed: why, in one line, and all that is known of it. It ends its process. */
  | { t: 'failed'; reason: string; failure?: Failure }
  /** It lives, and its event loop turns. */
  | { t: 'beat'; figures: Figures; inspected: boolean }
  /** It wants to be replaced, and goes on until it is told to stop. */
  | { t: 'retire'; reason: string }
  /** It stops by itself, after an error that nobody caught or a second signal: it is to be replaced at once. */
  | { t: 'dying'; reason: string; failure?: Failure }
  /** In development: it is about to load a file, or has looked for it in vain; and the digest of what is in it. */
  | { t: 'loads'; file: string; digest: string }
  /** It has stopped, cleanly or not: what follows is the end of its process. */
  | { t: 'closed'; clean: boolean }

/** What is known of a service once its module is loaded. */
export interface LoadedService {
  /** How long its stop may take, in milliseconds. */
  readonly grace: number
  /** Has it anything to do once, before the first worker? */
  readonly prepares: boolean
  /** The names of those of its resources that only one process may hold. */
  readonly exclusive: readonly string[]
}

/** Where a worker finds what it is, in its environment: its slot, and the sockets that it listens on. */
export const WORKER_VARIABLE = 'STEWARD_WORKER'

/** A listening socket that a worker has inherited, and the URL it is known by. */
export interface InheritedSocket {
  readonly fd: number
  readonly url: string
  /** Does it end with the service? Nobody may wait in its queue then. */
  readonly isSealable: boolean
}

/** Where a worker opens its inspector. */
export interface InspectorPlace {
  readonly host: string
  readonly port: number
  /** Does it wait for a debugger before it loads the module? */
  readonly waits: boolean
}

/** What that variable holds, as JSON. */
export interface WorkerPlace {
  readonly slot: number
  readonly generation: number
  /** Where it is asked for its stack: a line each, and one in answer. */
  readonly questions?: number
  /** How often it tells how it does, in milliseconds. */
  readonly beat?: number
  /** How many workers there are to be. */
  readonly workers: number
  /** Absent where none is wanted, and where an older worker of the slot has the port. */
  readonly inspect?: InspectorPlace
  /** What it is to do in the place of serving. */
  readonly errand?: 'prepare' | 'settle'
  /** The port that is listened on since nobody has named a place: a port of the module's own is listened on instead. */
  readonly defaultPort?: number
  readonly listen: readonly InheritedSocket[]
  /** It is reloaded whenever its code changes: it tells what it loads, and its stops are short. */
  readonly development?: boolean
  /** It is no worker but stands in for them: what it answers, in the place of the app. */
  readonly stub?: StubPlace
}

/** What a stub is told of what it stands in for. */
export interface StubPlace {
  /** Why no worker is ready, for those who may know: in development. */
  readonly failure?: Failure | undefined
}

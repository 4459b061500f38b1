/** How long a drain may take, in milliseconds: every rival that has such an option gets it. */
export const TIMEOUT = 10_000

/** Where and how a rival listens. */
export interface Place {
  /** An inherited socket, bound and not listening yet; any free port of 127.0.0.1 without it. */
  readonly fd?: number
  /** Serves HTTPS. */
  readonly tls?: Credentials
  /** Serves HTTP/2 beside it, chosen by ALPN. */
  readonly http2?: boolean
}

/** A certificate and its key, as PEM. */
export interface Credentials {
  readonly cert: string
  readonly key: string
  /** The files in which they are. */
  readonly files: { readonly cert: string; readonly key: string }
}

/** What the parent asks of a server: its port once, its processor time before and after each run. */
export type ServerAnswer = { readonly port: number } | { readonly cpu: number }

/** What the parent asks of the load. */
export interface LoadQuestion {
  readonly url: string
  readonly connections: number
  readonly seconds: number
}

export interface LoadAnswer {
  readonly requests: number
  readonly seconds: number
  /** Whatever was not a 2xx: such a run has no figure. */
  readonly failed: number
}

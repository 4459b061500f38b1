/**
 * Every code that an error of ours can carry. Each has a heading in docs/errors.md, and each message follows one grammar:
 * *Cannot* + action + quoted subject + colon + what was found + what to do.
 */
export type ErrorCode =
  | 'ERR_APP_NOT_USABLE'
  | 'ERR_BAD_MESSAGE'
  | 'ERR_BAD_OPTION'
  | 'ERR_BAD_REQUEST'
  | 'ERR_CAPTIVE'
  | 'ERR_CHECK_TIMEOUT'
  | 'ERR_CLIENT_GONE'
  | 'ERR_CLOSE'
  | 'ERR_CLOSE_TIMEOUT'
  | 'ERR_CONTROL'
  | 'ERR_CYCLE'
  | 'ERR_EXCLUSIVE'
  | 'ERR_GRACE_SPENT'
  | 'ERR_HANDLER_STREAMS'
  | 'ERR_HOOK'
  | 'ERR_HOOK_TIMEOUT'
  | 'ERR_JOURNAL'
  | 'ERR_KEY_TAKEN'
  | 'ERR_LIFESPAN'
  | 'ERR_LISTEN'
  | 'ERR_MODULE_LISTENS'
  | 'ERR_MODULE_NOT_FOUND'
  | 'ERR_MODULE_NO_DEFAULT'
  | 'ERR_MODULE_THREW'
  | 'ERR_NEEDS'
  | 'ERR_NOTE'
  | 'ERR_NOT_A_RESOURCE'
  | 'ERR_NOT_INJECTED'
  | 'ERR_NOT_RUNNING'
  | 'ERR_NO_SERVICE'
  | 'ERR_NO_WEBSOCKET'
  | 'ERR_NO_YIELD'
  | 'ERR_OPEN'
  | 'ERR_OPEN_ABORTED'
  | 'ERR_OPEN_TIMEOUT'
  | 'ERR_OVERRIDE_UNUSED'
  | 'ERR_RECOVER'
  | 'ERR_RESOURCE_DIED'
  | 'ERR_RESPONSE_NOT_OK'
  | 'ERR_SCOPE_CLOSED'
  | 'ERR_SCOPE_UNKNOWN'
  | 'ERR_SECOND_YIELD'
  | 'ERR_STOPPING'
  | 'ERR_TLS'
  | 'ERR_UNKNOWN_RESOURCE'
  | 'ERR_USE_NEVER'
  | 'ERR_USE_TWICE'
  | 'ERR_WORKER'

/** What an error of ours is made with, beside its code and message. */
export interface ErrorDetails {
  /** The error that led to this one. */
  cause?: unknown
  /** Every failure that belongs to this error, in the order in which they happened. */
  errors?: readonly unknown[]
  /** The way from what was asked for to what failed: `['users', 'tx', 'pool']`. */
  path?: readonly string[]
}

/** An error of ours: `code` is stable and has a heading in docs/errors.md; the message says what to do. */
export class StewardError extends Error {
  /** Stable, to be compared with: the message may be reworded, the code will not. */
  readonly code: ErrorCode
  /** Every failure that belongs to this error, in the order in which they happened; empty when it stands alone. */
  readonly errors: readonly unknown[]
  /** The way from what was asked for to what failed; empty when there is none. */
  readonly path: readonly string[]

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(withoutSecrets(message), 'cause' in details ? { cause: details.cause } : undefined)
    this.name = 'StewardError'
    this.code = code
    this.errors = details.errors ?? []
    this.path = details.path ?? []
  }
}

/** Is it an error of ours, and, when a code is given, that one? Also for errors from another copy of the package. */
export function isStewardError(error: unknown, code?: ErrorCode): error is StewardError {
  const known = error instanceof Error && error.name === 'StewardError' && 'code' in error
  return known && (code === undefined || error.code === code)
}

/** The same text; the passwords of the URLs in it are not shown. */
export function withoutSecrets(text: string): string {
  return text.replaceAll(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s/]*@/gi, '$1:***@')
}

/** Any thrown value in one line, for a message that quotes it. */
export function describeError(error: unknown): string {
  if (error instanceof Error) return error.message || error.name
  return typeof error === 'string' ? error : `${describe(error)} was thrown`
}

/** A value in a few words, with its type, for messages: `"abc" (string)`, `42 (number)`, `undefined`, `a function`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string') return `${JSON.stringify(value.slice(0, 60))} (string)`
  if (typeof value === 'function') return value.name ? `function ${value.name}` : 'a function'
  if (typeof value !== 'object') return `${String(value)} (${typeof value})`
  if (Array.isArray(value)) return `an array of ${value.length}`
  const name = (value as { constructor?: { name?: string } }).constructor?.name
  return name && name !== 'Object' ? `an instance of ${name}` : 'an object'
}

/** Does the error say that the client is at fault, by a `status` from 400 to 499? Nothing is wrong with the service then. */
export function blamesClient(error: unknown): boolean {
  const { status } = (error ?? {}) as { status?: unknown }
  return typeof status === 'number' && status >= 400 && status < 500
}

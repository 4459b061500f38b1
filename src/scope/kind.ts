/** One kind of scope: a lifetime, and the longer lifetime around it. */
export interface Kind {
  /** `'app'`, `'request'`, `'handler'`, or the name given to `per(name, parent)`. */
  readonly name: string
  /** The kind around it; the app has none. */
  readonly parent: Kind | undefined
  /** How many kinds are around it: 0 for the app. */
  readonly depth: number
}

/** The lifetime of a process: opened at start, closed at the end. */
export const appKind: Kind = { name: 'app', parent: undefined, depth: 0 }

/** The lifetime of one unit of work: an HTTP request until its response is over, a connection, a task run. */
export const requestKind: Kind = kindWithin('request', appKind)

/** Ends when the handler returns, before the response leaves. */
export const handlerKind: Kind = kindWithin('handler', requestKind)

/** The lifetime of one instance of a `keyed` resource: who holds it is that resource. */
export const instanceKind: Kind = kindWithin('instance', appKind)

/** A kind inside another one. */
export function kindWithin(name: string, parent: Kind): Kind {
  return { name, parent, depth: parent.depth + 1 }
}

/** Does `inner` lie within `outer`, or is it the same? */
export function isWithin(inner: Kind, outer: Kind): boolean {
  for (let kind: Kind | undefined = inner; kind; kind = kind.parent) if (kind === outer) return true
  return false
}

import { StewardError } from '../base/errors.ts'
import { appKind, requestKind, type Kind } from './kind.ts'
import type { OpenContext } from './context.ts'
import { define, type Resource } from './resource.ts'
import { runIn, type Run } from './run.ts'
import type { Scope } from './scope.ts'

/** Aborted when the shutdown has begun: long polls, loops and streams end by themselves when they look at it. */
export const stopping: Resource<AbortSignal, 'app'> = input(appKind, 'stopping')

/** Of a request: aborted when its client has gone, or when the grace is spent. */
export const signal: Resource<AbortSignal, 'request'> = input(requestKind, 'signal')

/** Opens resources for a piece of work in a handler scope of its own: a message, a batch, a retry. */
export const run: Resource<Run, 'request'> = define(requestKind, {
  open: (context) => runFrom((context as OpenContext).scope),
  options: { name: 'run' },
})

function runFrom(scope: Scope): Run {
  return (wanted, work) => runIn(scope, wanted, work as (values: never) => ReturnType<typeof work>)
}

/**
 * A resource that takes what its scope was entered with.
 *
 * @throws when it opens, `ERR_NEEDS` where the scope has no such thing
 */
export function input<Value, Scope extends string, Needs extends string = never>(
  kind: Kind,
  name: string,
): Resource<Value, Scope, Needs> {
  return define(kind, {
    input: name,
    options: { name },
    open: (context) => {
      const value = (context as OpenContext).scope.input(name)
      if (value !== undefined) return value
      throw new StewardError(
        'ERR_NEEDS',
        `Cannot open "${name}": this ${kind.name} scope has none; use it where a service handles a request, or replace it with fake(${name}, …)`,
      )
    },
  })
}

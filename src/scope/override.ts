import { describe, StewardError } from '../base/errors.ts'
import type { Keyed } from './keyed.ts'
import { isWithin } from './kind.ts'
import { Definition, definitionOf, type Resource } from './resource.ts'

/** Another resource, or a value, in the place of one: for tests, scripts and deployments. Made by `fake` and `swap`. */
export interface Override {
  /** What is replaced. */
  readonly target: Resource<unknown, string, string>
}

/** An override as it is inside. */
export class Replacement implements Override {
  readonly target: Resource<unknown, string, string>
  readonly definition: Definition
  /** For pictures: a value, or another resource. */
  readonly how: 'faked' | 'swapped'

  constructor(target: unknown, definition: Definition, how: 'faked' | 'swapped') {
    this.target = target as Resource<unknown, string, string>
    this.definition = definition
    this.how = how
  }
}

/**
 * Puts a value in the place of a resource. What is replaced never opens, nor does what only it needed; nothing is closed
 * for the value. For a `keyed` resource give a function from the key to the value.
 *
 * @throws `ERR_NOT_A_RESOURCE` when the target is none
 */
export function fake<Value, Key>(
  target: Resource<Keyed<Key, Value>, string, string>,
  value: (key: Key) => NoInfer<Value>,
): Override
export function fake<Value, Stand extends Value>(
  target: Resource<Value, string, string>,
  value: Stand,
): Override
export function fake(target: unknown, value: unknown): Override {
  const { kind, hasInstances } = targetOf(target, 'fake')
  const open = hasInstances ? fakeKeyed(value) : (): unknown => value
  const options = { dispose: false }
  const definition = new Definition(kind, { open, options, verbatim: !hasInstances })
  return new Replacement(target, definition, 'faked')
}

/** Scopes that are known to live longer than that one. */
type Longer<Scope extends string> = 'app' | (Scope extends 'handler' ? 'request' : never)

/**
 * Puts another resource in the place of one, with its own dependencies and its own close. The stand-in must live as long
 * as the original, or longer.
 *
 * @throws `ERR_NOT_A_RESOURCE` when one of them is none, `ERR_CAPTIVE` when the stand-in lives shorter
 */
export function swap<Value, Scope extends string, StandScope extends string>(
  target: Resource<Value, Scope, string>,
  by: Resource<NoInfer<Value>, StandScope, string> &
    ([StandScope] extends [Scope | Longer<Scope>]
      ? unknown
      : `✗ the stand-in is closed with its ${StandScope}, the original with its ${Scope}`),
): Override {
  const original = targetOf(target, 'swap')
  const stand = targetOf(by, 'swap in')
  if (!isWithin(original.kind, stand.kind)) {
    throw new StewardError(
      'ERR_CAPTIVE',
      `Cannot swap a resource of the ${original.kind.name} for one of the ${stand.kind.name}: the stand-in would be closed too early, make it perApp`,
    )
  }
  return new Replacement(target, stand, 'swapped')
}

function targetOf(resource: unknown, doing: string): Definition {
  const definition = definitionOf(resource)
  if (definition) return definition
  throw new StewardError(
    'ERR_NOT_A_RESOURCE',
    `Cannot ${doing} ${describe(resource)}: it is no resource, pass what perApp, perRequest or perHandler made`,
  )
}

function fakeKeyed(value: unknown): () => unknown {
  if (typeof value !== 'function') {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot fake a keyed resource with ${describe(value)}: pass a function from the key to the value`,
    )
  }
  const give = value as (key: unknown) => unknown
  return () => ({
    use: async (key: unknown, work: (value: unknown) => unknown) => work(give(key)),
    lease: async (key: unknown) => ({ value: give(key), [Symbol.asyncDispose]: async () => {} }),
    size: 0,
  })
}

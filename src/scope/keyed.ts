import { milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import type { Release } from '../base/world.ts'
import { captive, pickOf, stepOf, type Step } from './graph.ts'
import { appKind, instanceKind } from './kind.ts'
import type { OpenContext } from './context.ts'
import {
  checkOptions,
  define,
  definitionOf,
  type Definition,
  type Ending,
  type Resource,
} from './resource.ts'
import { withCloseErrors } from './run.ts'
import { Failure, scopeClosed } from './failure.ts'
import type { Scope } from './scope.ts'

/** One instance per key, shared by everyone who uses that key: tenants, shards, parametrised dependencies. */
export interface Keyed<in Key, out Value> {
  /**
   * Opens the key's instance if it is not open, and keeps it open while `work` runs. Fits an opener's `use`:
   * `(deps, { use }) => deps.tenants.use(id, use)`.
   *
   * @throws the instance's opening error (tried again at the next use), or the work's own
   */
  use<Result>(key: Key, work: (value: Value) => Result): Promise<Awaited<Result>>
  /** The same for `await using`: the instance stays open until the lease is disposed. */
  lease(key: Key): Promise<Lease<Value>>
  /** How many instances there are. */
  readonly size: number
}

/** The right to use an instance until it is disposed. */
export interface Lease<out Value> extends AsyncDisposable {
  readonly value: Value
}

/** What can be said about a keyed resource. */
export interface KeyedOptions {
  /** Its name in messages and pictures. @default the key under which it is first used */
  name?: string
  /** How long an instance stays open after its last use. @default to the end of the app */
  idle?: Duration
  /** How long closing all of its instances may take at the end. */
  closeTimeout?: Duration
}

/**
 * One app resource per key: opened at the key's first use, shared, closed when idle and at the end, after everyone who uses
 * it and before what it stands on. What an instance stands on belongs to the app, and stays open to its end. Keys are
 * compared like those of a Map: use strings or numbers.
 *
 * @throws `ERR_NOT_A_RESOURCE` at first use when `make` gives none of the app, `ERR_BAD_OPTION`
 * @example
 * ```ts
 * import { header, keyed, perApp, perRequest } from 'steward'
 *
 * const tenants = keyed((tenant: string) => perApp(async function* () {
 *   const lines: string[] = [`opened for ${tenant}`]
 *   yield lines
 *   lines.length = 0
 * }), { idle: '5m' })
 * const log = perRequest({ tenants }, ({ tenants }, { use }) => tenants.use('acme', use))
 * ```
 */
export function keyed<Key, Value>(
  make: (key: Key) => Resource<Value, 'app'>,
  options: KeyedOptions = {},
): Resource<Keyed<Key, Value>, 'app'> {
  if (typeof make !== 'function') {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot make a keyed resource of ${describe(make)}: pass a function from the key to a resource`,
    )
  }
  checkOptions(options, OPTIONS)
  const { idle, ...rest } = options
  const idleFor = idle === undefined ? undefined : milliseconds(idle, 'idle')
  return define(appKind, {
    options: rest,
    hasInstances: true,
    open: async function* (context: OpenContext): AsyncGenerator<unknown, void, Ending> {
      const registry = new Registry(context, make as (key: unknown) => unknown, idleFor)
      yield registry
      await registry.close()
    } as (context: unknown) => unknown,
  })
}

const OPTIONS = new Set<string>(['name', 'idle', 'closeTimeout'] satisfies (keyof KeyedOptions)[])

interface Instance {
  /** Closed when nobody uses it any more and it was idle long enough, or at the end. */
  readonly scope: Scope
  readonly step: Step
  readonly ready: Promise<void>
  users: number
  stopIdling: Release | undefined
}

class Registry implements Keyed<unknown, unknown> {
  readonly #instances = new Map<unknown, Instance>()
  /** Instances that are being closed: their key opens again only afterwards. */
  readonly #closing = new Map<unknown, Promise<void>>()
  readonly #context: OpenContext
  readonly #make: (key: unknown) => unknown
  readonly #idle: number | undefined
  /** Is `close` waiting for every instance? It reports their errors then. */
  #isEnding = false

  constructor(context: OpenContext, make: (key: unknown) => unknown, idle: number | undefined) {
    this.#context = context
    this.#make = make
    this.#idle = idle
  }

  get size(): number {
    return this.#instances.size
  }

  async use<Result>(key: unknown, work: (value: unknown) => Result): Promise<Awaited<Result>> {
    const instance = await this.#acquire(key)
    try {
      return await work(instance.scope.valueOf(instance.step))
    } finally {
      this.#release(key, instance)
    }
  }

  async lease(key: unknown): Promise<Lease<unknown>> {
    const instance = await this.#acquire(key)
    let held = true
    return {
      value: instance.scope.valueOf(instance.step),
      [Symbol.asyncDispose]: async () => {
        if (held) this.#release(key, instance)
        held = false
      },
    }
  }

  async close(): Promise<void> {
    this.#isEnding = true
    for (const key of this.#instances.keys()) this.#end(key)
    const results = await Promise.allSettled(this.#closing.values())
    const errors = results
      .filter((result) => result.status === 'rejected')
      .map((result) => result.reason)
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) {
      throw new StewardError(
        'ERR_CLOSE',
        `Cannot close every instance of "${this.#context.name}": ${errors.length} failed; each is in "errors"`,
        { errors, cause: errors[0] },
      )
    }
  }

  async #acquire(key: unknown): Promise<Instance> {
    for (let closing = this.#closing.get(key); closing; closing = this.#closing.get(key)) {
      await closing.catch(() => {})
    }
    const instance = this.#instances.get(key) ?? this.#open(key)
    instance.users++
    instance.stopIdling?.()
    try {
      await instance.ready
      return instance
    } catch (error) {
      instance.users--
      if (this.#instances.get(key) === instance) this.#instances.delete(key)
      throw error
    }
  }

  #open(key: unknown): Instance {
    const app = this.#context.scope
    if (app.state !== 'open') throw scopeClosed(app, `open "${this.#context.name}(${String(key)})"`)
    const step = this.#stepFor(key)
    const scope = app.attach(instanceKind)
    const ready = openInstance(scope, app, step)
    const instance: Instance = { scope, step, ready, users: 0, stopIdling: undefined }
    this.#instances.set(key, instance)
    return instance
  }

  #stepFor(key: unknown): Step {
    const name = `${this.#context.name}(${String(key)})`
    const definition = definitionOf(this.#make(key))
    if (!definition || definition.kind !== appKind) throw notPerApp(name)
    const { graph } = this.#context.scope.root
    const { picks } = graph.plan(depsOf(definition))
    const step = stepOf({
      definition,
      name,
      kind: instanceKind,
      slot: 0,
      deps: picks,
      below: new Set(),
      height: 0,
      replaced: undefined,
    })
    for (const pick of picks) {
      if (pick.step.kind !== appKind) throw captive(step, pick)
      graph.grow(this.#context.step, pick.step)
    }
    return step
  }

  #release(key: unknown, instance: Instance): void {
    instance.users--
    if (instance.users > 0 || this.#idle === undefined || this.#instances.get(key) !== instance) {
      return
    }
    instance.stopIdling = this.#context.scope.root.world.timer(
      this.#idle,
      () => this.#end(key),
      'idle',
    )
  }

  #end(key: unknown): void {
    const instance = this.#instances.get(key)!
    instance.stopIdling?.()
    this.#instances.delete(key)
    const ended = instance.scope.end({ ok: true }) ?? Promise.resolve()
    const closing = ended.finally(() => {
      if (this.#closing.get(key) === closing) this.#closing.delete(key)
    })
    closing.catch((error) => this.#isEnding || this.#tell(key, error))
    this.#closing.set(key, closing)
  }

  #tell(key: unknown, error: unknown): void {
    const { emit } = this.#context.scope.root
    emit({
      type: 'error',
      message: `Closing "${this.#context.name}(${String(key)})" failed`,
      error,
    })
  }
}

async function openInstance(scope: Scope, app: Scope, step: Step): Promise<void> {
  const { graph } = app.root
  try {
    await app.open(graph.plan(depsOf(step.definition)))
    await scope.open({ kind: instanceKind, steps: [step], picks: [pickOf('value', step)] })
  } catch (error) {
    const own = error instanceof Failure ? error.error : error
    const closed = scope.end({ ok: false, error: own })
    throw closed
      ? await closed.then(
          () => own,
          (closeError: unknown) => withCloseErrors(own, closeError),
        )
      : own
  }
}

const NOTHING = {}

function depsOf(definition: Definition): Record<string, never> {
  return definition.deps ?? NOTHING
}

function notPerApp(name: string): StewardError {
  return new StewardError(
    'ERR_NOT_A_RESOURCE',
    `Cannot open "${name}": its function gave no resource of the app, return perApp(…)`,
  )
}

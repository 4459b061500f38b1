import type { StandardSchemaV1 } from '@standard-schema/spec'
import { milliseconds, type Duration } from '../base/deadline.ts'
import { describe, StewardError } from '../base/errors.ts'
import {
  checkRecovery, type Half, type Halved, type Notable, type Notebook, type Recover, type Recovery, type Refused,
} from './journal.ts' // oxfmt-ignore
import { appKind, handlerKind, kindWithin, requestKind, type Kind } from './kind.ts'

declare const given: unique symbol

/**
 * A thing with a lifetime: how it is opened, what it gives, how it is closed. Made by `perApp`, `perRequest`, `perHandler`
 * or a `per(name, parent)` of one's own; holds nothing itself, so it can be exported, imported and shared freely.
 *
 * `Value` is what it gives, `Scope` the name of the lifetime it is closed with, `Needs` what it wants beyond its scope:
 * `'request'` when it, or something it stands on, reads the HTTP request.
 */
export interface Resource<
  out Value,
  out Scope extends string = string,
  out Needs extends string = never,
> {
  readonly [given]: { readonly value: Value; readonly scope: Scope; readonly needs: Needs }
}

/** Any resource at all. */
export type AnyResource = Resource<unknown, string, string>

/** Resources under the names by which their values are wanted. */
export type Resources = Readonly<Record<string, AnyResource>>

/** What a resource gives: `ValueOf<typeof pool>`. */
export type ValueOf<R> = R extends Resource<infer Value, string, string> ? Value : never

/** The values of resources, under the same names. */
export type Values<Wanted> = { readonly [Name in keyof Wanted]: ValueOf<Wanted[Name]> }

/** What resources need beyond their scopes, as a union. */
export type NeedsOf<Wanted> = {
  [Name in keyof Wanted]: Wanted[Name] extends Resource<unknown, string, infer Needs>
    ? Needs
    : never
}[keyof Wanted]

/** How a scope ended, told to whoever closes something with it. `status` is that of the HTTP response, where there is one. */
export type Ending =
  | { readonly ok: true; readonly status?: number; readonly error?: undefined }
  | { readonly ok: false; readonly status?: number; readonly error?: unknown }

/** The same ending, but not well any more: something failed on the way. What had failed before stays. */
export function notOk(ending: Ending, error: unknown): Ending {
  return ending.ok ? { ...ending, ok: false, error } : ending
}

declare const usedValue: unique symbol

/** What `use` resolves with when its scope ended well: pass it through the callback API and return it from the opener. */
export interface Used<out Value> {
  readonly [usedValue]: Value
}

/** What an opener is given beside its dependencies. `Note` is what may be noted in its journal. */
export interface Context<in Note = Notable<never>> {
  /** Aborted when the opening should stop, never after the resource is open. */
  readonly opening: AbortSignal
  /**
   * For callback APIs: hands the value out and resolves when its scope ended well, or rejects with what the scope failed
   * with, so that `db.transaction((tx) => use(tx))` commits or rolls back. Once per opening.
   *
   * @throws `ERR_USE_TWICE` when called again
   */
  readonly use: <Value>(value: Value) => Promise<Used<Value>>
  /** Tells that this resource has died while it was open (a lost connection, a crashed child): the service stops, exit 1. */
  readonly fail: (error: unknown) => void
  /** Where it leaves notes for the case that its process ends without closing it. */
  readonly journal: Notebook<Note>
  /** The name it goes by in messages and pictures. */
  readonly name: string
}

/** What can be said about a resource beside how it is opened. */
export interface ResourceOptions<in Value> {
  /** Its name in messages and pictures. @default the key under which it is first used */
  name?: string
  /** How long opening may take. @default '30s' in the app scope, none in others */
  openTimeout?: Duration
  /** How long closing may take. @default its share of what is left of the budget */
  closeTimeout?: Duration
  /** Is it well? Throws or rejects when not. Runs for the health report, at most 5 s. */
  check?: (value: Value, context: { readonly signal: AbortSignal }) => unknown
  /** Does a failing `check` make the service not ready? @default false */
  critical?: boolean
  /** Closes the value of a plain opener by its `Symbol.asyncDispose` or `Symbol.dispose`. @default false */
  dispose?: boolean
  /** Only one process may hold it: more than one worker is refused, a reload stops first. @default false */
  exclusive?: boolean
  /** Opens at first use, not at start. @default false */
  lazy?: boolean
}

/** Refuses what would outlive its dependency, on the very property, in words. */
export type Outlived<Wanted, Around extends string, Self extends string> = {
  [Name in keyof Wanted]: Wanted[Name] extends Resource<unknown, infer Scope, string>
    ? [Scope] extends [Around]
      ? Wanted[Name]
      : `✗ '${Name & string}' is closed with its ${Scope}, but this ${Self} resource would still hold it`
    : Wanted[Name]
}

/** Refuses what the place cannot give: a scope that is not open there, or the request where there is none. */
export type Fitting<Wanted, Around extends string, Has extends string, Place extends string> = {
  [Name in keyof Wanted]: Wanted[Name] extends Resource<unknown, infer Scope, infer Needs>
    ? [Scope] extends [Around]
      ? [Needs] extends [Has]
        ? Wanted[Name]
        : `✗ '${Name & string}' needs the ${Exclude<Needs, Has>}, and ${Place} has none`
      : `✗ '${Name & string}' is closed with its ${Exclude<Scope, Around>}, and ${Place} has none`
    : Wanted[Name]
}

/** What a plain or asynchronous opener gives, once promises and `use` are taken off. */
export type Opened<Result> =
  Result extends Promise<infer Value> ? OpenedValue<Awaited<Value>> : OpenedValue<Result>
type OpenedValue<Result> = Result extends Used<infer Value> ? Value : Result

/** A generator may yield a promise: what it gives is what that resolves with. */
export type Yielded<Value> = Value extends Promise<infer Settled> ? Awaited<Settled> : Value

/** The plain form must not swallow a generator that did not fit the yielding ones. */
type NotGenerator<Result> = 0 extends 1 & Result
  ? unknown
  : [Result] extends [never]
    ? unknown
    : // `never`, since `unknown` would not match a generator with a narrower TNext
      [Result] extends [
          AsyncGenerator<infer _A, infer _B, never> | Generator<infer _C, infer _D, never>,
        ]
      ? '✗ a resource generator yields its value once and gets an Ending back from yield'
      : unknown

/**
 * Makes resources of one scope. The opener is a plain function, an async function, a generator, an async generator, or
 * hands its value to `use`; it takes its dependencies and the context, or the context alone when it has none. In
 * generators `yield` never throws: it evaluates to how the scope ended, and the code after it always runs.
 */
export interface Per<Self extends string, Around extends string> {
  /** The kind of scope, for `per(name, parent)` and `enter`. */
  readonly kind: Kind & { readonly name: Self }
  /** Names of this scope and all around it; exists in types only. */
  readonly around?: Around
  <Value = Uninferred, Schema extends StandardSchemaV1 = never>(
    open: (context: Context<Notable<Schema>>) => Yielding<Value>,
    options?: ResourceOptions<NoInfer<Yielded<Value>>> & Recovery<Self, Schema, {}>,
  ): Resource<Yielded<Value>, Self>
  <Result = Uninferred, Schema extends StandardSchemaV1 = never>(
    open: ((context: Context<Notable<Schema>>) => Result) & NotGenerator<Result>,
    options?: ResourceOptions<NoInfer<Opened<Result>>> & Recovery<Self, Schema, {}>,
  ): Resource<Opened<Result>, Self>
  /** What is wrong with a note without its recover, in words. */
  (open: (context: Context<Halved<Self>>) => unknown, options: Half<Self>): Refused<Halved<Self>>
  <const Deps extends Resources>(
    deps: Deps & Outlived<Deps, Around, Self>,
    open: (deps: Values<Deps>, context: Context<Halved<Self>>) => unknown,
    options: Half<Self>,
  ): Refused<Halved<Self>>
  <const Deps extends Resources, Value = Uninferred, Schema extends StandardSchemaV1 = never>(
    deps: Deps & Outlived<Deps, Around, Self>,
    open: (deps: Values<Deps>, context: Context<Notable<Schema>>) => Yielding<Value>,
    options?: ResourceOptions<NoInfer<Yielded<Value>>> & Recovery<Self, Schema, Values<Deps>>,
  ): Resource<Yielded<Value>, Self, NeedsOf<Deps>>
  <const Deps extends Resources, Result = Uninferred, Schema extends StandardSchemaV1 = never>(
    deps: Deps & Outlived<Deps, Around, Self>,
    open: ((deps: Values<Deps>, context: Context<Notable<Schema>>) => Result) &
      NotGenerator<Result>,
    options?: ResourceOptions<NoInfer<Opened<Result>>> & Recovery<Self, Schema, Values<Deps>>,
  ): Resource<Opened<Result>, Self, NeedsOf<Deps>>
}

/** What a generator opener is: it yields its value once, and gets an Ending back. */
type Yielding<Value> = AsyncGenerator<Value, unknown, Ending> | Generator<Value, unknown, Ending>

/**
 * What a value is taken for while the compiler has not inferred it yet. It tries one form of opener after the other and keeps
 * what it took a `check`'s parameter for the first time: `unknown` there would refuse every use of it for good.
 */
// oxlint-disable-next-line no-explicit-any -- see above
type Uninferred = any

/** A resource as it is inside: what `perApp` and its like were given. */
export class Definition {
  readonly kind: Kind
  /** What was given, unchecked: an import cycle leaves `undefined` in it. */
  readonly deps: Record<string, unknown> | undefined
  readonly open: Opener
  readonly gives: Gives
  readonly options: DefinitionOptions
  /** In milliseconds. */
  readonly openTimeout: number | undefined
  /** In milliseconds. */
  readonly closeTimeout: number | undefined
  /** What it takes from the scope itself, when it is built in. */
  readonly input: string | undefined
  /** For `keyed`: what one key's resource stands on is found out when the key is first used. */
  readonly hasInstances: boolean
  /** For `fake`: is what `open` gives the value itself, though it be a promise or a generator? */
  readonly verbatim: boolean

  constructor(kind: Kind, parts: DefinitionParts) {
    const options = parts.options ?? {}
    this.kind = kind
    this.deps = parts.deps
    this.open = parts.open
    this.gives = FORMS[(parts.open as Partial<Tagged>)[Symbol.toStringTag] ?? ''] ?? 'anything'
    this.options = options
    this.openTimeout = limitOf(options, 'openTimeout') ?? (kind.depth === 0 ? 30_000 : undefined)
    this.closeTimeout = limitOf(options, 'closeTimeout')
    this.input = parts.input
    this.hasInstances = parts.hasInstances ?? false
    this.verbatim = parts.verbatim ?? false
  }
}

/** The options of any resource, types aside. */
interface DefinitionOptions extends ResourceOptions<never> {
  note?: StandardSchemaV1
  recover?: Recover<never, never>
}

/** What an opener gives, as far as its form tells: a plain one may give anything. */
export type Gives = 'generator' | 'async generator' | 'value' | 'anything'

interface Tagged {
  readonly [Symbol.toStringTag]: string
}

const FORMS: Record<string, Gives> = {
  GeneratorFunction: 'generator',
  AsyncGeneratorFunction: 'async generator',
}

/** An opener, types aside. Without dependencies it is called with the context alone. */
export type Opener = (first: unknown, context?: Context) => unknown

interface DefinitionParts {
  deps?: Record<string, unknown> | undefined
  open: Opener
  options?: DefinitionOptions | undefined
  input?: string
  hasInstances?: boolean
  verbatim?: boolean
}

/** Makes resources that live as long as the process: opened before the first request, closed after the last. */
export const perApp: Per<'app', 'app'> = maker<'app', 'app'>(appKind)

/** Makes resources of one request: an HTTP request until its response is over, a connection, a task run. */
export const perRequest: Per<'request', 'app' | 'request'> = maker(requestKind)

/** Makes resources that are closed when the handler returns, before the response leaves: a failing commit is the client's 500. */
export const perHandler: Per<'handler', 'app' | 'request' | 'handler'> = maker(handlerKind)

/**
 * A scope of one's own inside another.
 *
 * @throws `ERR_BAD_OPTION` when the name is empty or the parent is no scope
 * @example
 * ```ts
 * import { per, perApp } from 'steward'
 *
 * const perJob = per('job', perApp)
 * export const workFolder = perJob(() => `/tmp/${crypto.randomUUID()}`)
 * ```
 */
export function per<const Name extends string, Parent extends string, Around extends string>(
  name: Name,
  parent: Per<Parent, Around>,
): Per<Name, Around | Name> {
  if (typeof name !== 'string' || name === '') {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot make a scope: its name is ${describe(name)}, give it a word`,
    )
  }
  if (typeof parent !== 'function' || !parent.kind) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot make the scope "${name}" within ${describe(parent)}: pass perApp, perRequest, perHandler or another per(…)`,
    )
  }
  return maker(kindWithin(name, parent.kind))
}

/** A resource from its parts; for built-in ones that the public makers cannot express. */
export function define<Value, Scope extends string, Needs extends string>(
  kind: Kind,
  parts: DefinitionParts,
): Resource<Value, Scope, Needs> {
  return new Definition(kind, parts) as unknown as Resource<Value, Scope, Needs>
}

/** The inside of a resource, or `undefined` when the value is none. */
export function definitionOf(resource: unknown): Definition | undefined {
  return resource instanceof Definition ? resource : undefined
}

const OPTIONS = new Set<string>([
  'name', 'openTimeout', 'closeTimeout', 'check', 'critical', 'dispose', 'exclusive', 'lazy', 'note', 'recover',
] satisfies (keyof DefinitionOptions)[]) // oxfmt-ignore

function maker<Self extends string, Around extends string>(kind: Kind): Per<Self, Around> {
  const make = (first: unknown, second?: unknown, third?: unknown): Definition => {
    const alone = typeof first === 'function'
    const [deps, open, options] = alone ? [undefined, first, second] : [first, second, third]
    if (!alone && !isDeps(first)) throw notDeps(kind, first)
    if (typeof open !== 'function') throw notOpener(kind, open)
    checkOptions(options, OPTIONS)
    checkRecovery(kind, options as DefinitionOptions | undefined)
    return new Definition(kind, {
      deps: deps as Record<string, unknown> | undefined,
      open: open as Opener,
      options: options as DefinitionOptions | undefined,
    })
  }
  return Object.assign(make, { kind }) as unknown as Per<Self, Around>
}

function isDeps(found: unknown): boolean {
  return typeof found === 'object' && found !== null && !(found instanceof Definition)
}

function limitOf(
  options: ResourceOptions<never>,
  name: 'openTimeout' | 'closeTimeout',
): number | undefined {
  const limit = options[name]
  return limit === undefined ? undefined : milliseconds(limit, name)
}

/** @throws `ERR_BAD_OPTION` for an option that is not among the known */
export function checkOptions(options: unknown, known: ReadonlySet<string>): void {
  if (options === undefined) return
  if (typeof options !== 'object' || options === null) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot make a resource with ${describe(options)} as its options: pass an object`,
    )
  }
  const unknown = Object.keys(options).find((name) => !known.has(name))
  if (unknown === undefined) return
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot make a resource with the option "${unknown}": there is no such option, known are ${[...known].join(', ')}`,
  )
}

function notDeps(kind: Kind, found: unknown): StewardError {
  return new StewardError(
    'ERR_NOT_A_RESOURCE',
    `Cannot make a resource of the ${kind.name}: its first argument is ${found instanceof Definition ? 'a resource' : describe(found)}, pass an object of resources or the opener`,
  )
}

function notOpener(kind: Kind, found: unknown): StewardError {
  return new StewardError(
    'ERR_NOT_A_RESOURCE',
    `Cannot make a resource of the ${kind.name}: its opener is ${describe(found)}, pass a function`,
  )
}

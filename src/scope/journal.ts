import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, describeError, StewardError } from '../base/errors.ts'
import type { Emit } from '../base/events.ts'
import type { OpenContext } from './context.ts'
import type { Step } from './graph.ts'
import type { Kind } from './kind.ts'
import type { Scope } from './scope.ts'

/** What a resource may note: the input of its schema. */
export type Notable<Schema extends StandardSchemaV1> = [Schema] extends [never]
  ? '✗ the options of this resource have no note: give a schema as note, and recover beside it'
  : StandardSchemaV1.InferInput<Schema>

/** Where a resource leaves notes for the case that its process ends without closing it. */
export interface Notebook<in Note> {
  /**
   * Leaves a note; resolves when it is on disk. A clean close strikes it off. When the process ends without one, `recover` is
   * called with it before the resource opens again.
   *
   * @throws `ERR_NOTE` when it does not fit the schema, is not what JSON can keep, or comes after the close; `ERR_JOURNAL`
   * when it cannot be written
   */
  readonly note: (value: Note) => Promise<void>
}

/** What `recover` is told beside the note. */
export interface RecoverContext {
  /** 1 at first; more when an earlier one failed, or was killed. */
  readonly attempt: number
  /** Aborted when the opening that waits for it should stop. */
  readonly opening: AbortSignal
}

/** Settles a note that an ended process has left. A kill may come while it runs, so it must be idempotent. */
export type Recover<in Note, in Deps> = (note: Note, deps: Deps, context: RecoverContext) => unknown

/** The options of a resource that leaves notes: both, or none; of the app only. */
export type Recovery<Self extends string, Schema extends StandardSchemaV1, Deps> =
  | (Self extends 'app'
      ? {
          /** What is noted: checked when it is noted, and again before it is settled. */
          note: Schema
          /** Settles one note. Gets what the resource stands on. */
          recover: Recover<NoInfer<StandardSchemaV1.InferOutput<Schema>>, Deps>
        }
      : never)
  | { note?: undefined; recover?: undefined }

/** One of the two without the other, or either in a scope that leaves no notes. */
export type Half<Self extends string> =
  | { note: unknown; recover?: Self extends 'app' ? undefined : RefusedRecover<Self> }
  | { note?: undefined; recover: RefusedRecover<Self> }

type RefusedRecover<Self extends string> = Recover<Refused<Halved<Self>>, Refused<Halved<Self>>>

/** What is wrong with it, in words. */
export type Halved<Self extends string> = Self extends 'app'
  ? '✗ note and recover go together: a schema of what is noted, and who settles it'
  : `✗ a ${Self} resource leaves no notes: what it takes must be noted by an app resource`

/** What a maker gives in the place of a resource that cannot be one: whoever uses it reads why. */
export interface Refused<Sentence extends string> {
  readonly refused: Sentence
}

/** Where the notes of an app are kept; whoever runs the app knows where that is. */
export interface Journal {
  /** Resolves when it is on disk, with what `strike` takes. @throws `ERR_JOURNAL` */
  note(resource: string, value: unknown): Promise<number>
  /** The notes are settled. @throws `ERR_JOURNAL` */
  strike(notes: readonly number[]): Promise<void>
  /**
   * Calls `recover` with each note that earlier openings of the resource have left, in this process or in ended ones; never
   * while another process does. Those that it settles are struck off.
   *
   * @throws `ERR_RECOVER` with every error when one was not settled, `ERR_JOURNAL`, the signal's reason
   */
  settle(resource: string, recover: Settle, signal: AbortSignal): Promise<void>
}

/** Settles one note. */
export type Settle = (value: unknown, attempt: number) => Promise<void>

/** The journal of an app that was given none: notes end with the process, and a warning says so once. */
export class LooseJournal implements Journal {
  readonly #emit: Emit
  #count = 0

  constructor(emit: Emit) {
    this.#emit = emit
  }

  async note(resource: string): Promise<number> {
    if (this.#count === 0) {
      const message = `The notes of "${resource}" are not kept: nobody will settle them when this process is killed; say where to keep them, start(service, { state: 'folder' }), or serve the service`
      this.#emit({ type: 'warning', message })
    }
    return this.#count++
  }

  async strike(): Promise<void> {}

  async settle(): Promise<void> {}
}

/** The notes of one opening. Held by its context; what it has noted is struck off by its clean close. */
export class Notes implements Notebook<unknown> {
  readonly #context: OpenContext
  readonly #left: Promise<number>[] = []
  #isClosed = false

  constructor(context: OpenContext) {
    this.#context = context
  }

  readonly note = async (value: unknown): Promise<void> => {
    const { step, scope } = this.#context
    const kept = await checked(step, value)
    if (this.#isClosed) throw noteAfterClose(step)
    const left = scope.root.journal.note(step.name, kept)
    this.#left.push(left)
    await left
  }

  /** The resource has closed well. @throws `ERR_JOURNAL` */
  async strike(): Promise<void> {
    this.#isClosed = true
    const written = await Promise.allSettled(this.#left)
    const notes = written.filter((one) => one.status === 'fulfilled').map(({ value }) => value)
    if (notes.length > 0) await this.#context.scope.root.journal.strike(notes)
  }
}

/** Settles what earlier openings of a resource have left; gives nothing when it is one that leaves no notes. */
export function settleBefore(context: OpenContext): Promise<void> | undefined {
  const { step, scope } = context
  if (!step.leavesNotes) return undefined
  return settleStep(scope, step, context.opening)
}

/**
 * Settles the notes that are left of a resource whose dependencies are open.
 *
 * @throws `ERR_RECOVER`, `ERR_JOURNAL`, the signal's reason
 */
export function settleStep(scope: Scope, step: Step, signal: AbortSignal): Promise<void> {
  const { journal, emit, world } = scope.root
  const recover = step.definition.options.recover as Recover<unknown, unknown>
  const { name } = step
  return journal.settle(
    name,
    async (value, attempt) => {
      const began = world.now()
      try {
        const note = await validated(step, value)
        await recover(note, scope.recordOf(step.deps), { attempt, opening: signal })
      } catch (error) {
        emit({ type: 'note.failed', name, attempt, took: world.now() - began, error })
        throw error
      }
      emit({ type: 'note.settled', name, attempt, took: world.now() - began })
    },
    signal,
  )
}

/** What JSON keeps of it is what `recover` will get: that has to fit the schema. */
async function checked(step: Step, value: unknown): Promise<unknown> {
  if (!step.definition.options.note) throw noNote(step)
  const kept = throughJson(step, value)
  await validated(step, kept)
  return kept
}

function throughJson({ name }: Step, value: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(value)) as unknown
  } catch (cause) {
    throw new StewardError(
      'ERR_NOTE',
      `Cannot note ${describe(value)} for "${name}": JSON cannot keep it; note strings, numbers, booleans, null, and plain objects and arrays of these`,
      { cause },
    )
  }
}

async function validated({ name, definition }: Step, value: unknown): Promise<unknown> {
  const result = await definition.options.note!['~standard'].validate(value)
  if (!result.issues) return result.value
  const found = result.issues.map(inWords).join('; ')
  throw new StewardError(
    'ERR_NOTE',
    `Cannot use a note of "${name}": ${found}; note what its schema takes once JSON has kept it, and let the schema take the notes of earlier releases`,
  )
}

function inWords({ message, path = [] }: StandardSchemaV1.Issue): string {
  const keys = path.map((part) => String(typeof part === 'object' ? part.key : part))
  return keys.length > 0 ? `${keys.join('.')}: ${message}` : message
}

/** What a compiler would have refused. @throws `ERR_BAD_OPTION` */
export function checkRecovery(kind: Kind, given: Given = {}): void {
  const problem = recoveryProblem(kind, given)
  if (problem) throw new StewardError('ERR_BAD_OPTION', `Cannot make a resource ${problem}`)
}

interface Given {
  readonly note?: Partial<StandardSchemaV1> | null
  readonly recover?: unknown
}

function recoveryProblem(kind: Kind, { note, recover }: Given): string | undefined {
  if (note === undefined && recover === undefined) return undefined
  if (kind.depth > 0) {
    return `of the ${kind.name} with a note: what it takes must be noted by an app resource, make that one perApp`
  }
  if (note === undefined) return 'with "recover" alone: give "note" too, a schema of what is noted'
  if (recover === undefined) {
    return 'with "note" alone: give "recover" too, who settles what is noted'
  }
  if (typeof recover !== 'function') {
    return `with ${describe(recover)} as "recover": pass a function that settles one note`
  }
  if (typeof note?.['~standard']?.validate === 'function') return undefined
  return `with ${describe(note)} as "note": it is no Standard Schema, pass one of Zod, Valibot or ArkType`
}

function noNote({ name }: Step): StewardError {
  return new StewardError(
    'ERR_NOTE',
    `Cannot note for "${name}": its options have no "note"; give a schema of what is noted, and "recover" beside it`,
  )
}

function noteAfterClose({ name }: Step): StewardError {
  return new StewardError(
    'ERR_NOTE',
    `Cannot note for "${name}": it is closed; note before the thing is taken`,
  )
}

/** The error of a resource whose notes were not all settled. `where` is the folder that has them. */
export function notRecovered(
  name: string,
  errors: readonly unknown[],
  where: string,
): StewardError {
  const [one, are] = errors.length === 1 ? ['a note', 'is'] : [`${errors.length} notes`, 'are']
  return new StewardError(
    'ERR_RECOVER',
    `Cannot open "${name}": ${one} that an earlier opening left ${are} not settled, ${describeError(errors[0])}; correct its recover, the next start tries again (kept in ${where})`,
    { cause: errors[0], errors, path: [name] },
  )
}

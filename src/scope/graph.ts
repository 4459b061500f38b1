import { describe, StewardError } from '../base/errors.ts'
import { appKind, isWithin, type Kind } from './kind.ts'
import { Replacement, type Override } from './override.ts'
import {
  definitionOf,
  type Definition,
  type Gives,
  type Opener,
  type Resources,
} from './resource.ts'

/**
 * A resource in one graph: overrides applied, named, with a slot of its own in its scope. What a request reads of it lies in
 * it and not behind it: each object that it touches is likely to come from a slower cache, some 5 ns.
 */
export interface Step extends Place {
  readonly open: Opener
  /** Absent when the opener takes the context alone. */
  readonly wants: readonly Pick[] | undefined
  /** What a call of `open` gives, as far as that is known. */
  readonly gives: Gives
  /** Is its opening news? Of the app's resources, but for those that are built in. */
  readonly isTold: boolean
  /** Was it opened before in a request or the like, and is a value that it gives no more than that? */
  isUsual: boolean
  /** Does it leave notes? Then what earlier openings left is settled before, and a close strikes off. */
  readonly leavesNotes: boolean
  /** Has its close no limit of its own? */
  readonly isBrief: boolean
  readonly definition: Definition
  readonly name: string
  readonly deps: readonly Pick[]
  /** Slots of the same kind of scope that it stands on, directly or not: closed after it. */
  readonly below: Set<number>
  /** How many levels of the same scope are below it: how many closes may have to follow its own. */
  height: number
  readonly replaced: 'faked' | 'swapped' | undefined
  /** Was its first value looked at for a disposer that nobody asked to be called? */
  disposerSeen: boolean
}

/** Where the value of a step is. */
export interface Place {
  readonly kind: Kind
  /** In the arrays of every scope of that kind. */
  readonly slot: number
}

/** A step under the name by which its value is wanted. */
export interface Pick extends Place {
  readonly key: string
  readonly step: Step
}

/** A step under a name. */
export function pickOf(key: string, step: Step): Pick {
  return { key, step, kind: step.kind, slot: step.slot }
}

/** What is found out about a step before it is one. */
export type StepParts = Omit<
  Step,
  'open' | 'wants' | 'gives' | 'isTold' | 'isUsual' | 'leavesNotes' | 'isBrief' | 'disposerSeen'
>

/** A step from its parts. */
export function stepOf(parts: StepParts): Step {
  const { definition, kind, slot, deps } = parts
  const { open, gives, verbatim } = definition
  const leavesNotes = definition.options.recover !== undefined
  return {
    kind,
    slot,
    open,
    wants: definition.deps && deps,
    gives: verbatim ? 'value' : gives,
    isUsual: kind.depth > 0 && gives !== 'anything' && !leavesNotes,
    leavesNotes,
    isBrief: definition.closeTimeout === undefined,
    isTold: kind.depth === 0 && definition.input === undefined,
    definition,
    name: parts.name,
    deps,
    below: parts.below,
    height: parts.height,
    replaced: parts.replaced,
    disposerSeen: false,
  }
}

/** What has to be open for a set of wanted resources: compiled once, used for every request. */
export interface Plan {
  /** The innermost scope among the wanted. */
  readonly kind: Kind
  /** Dependencies first. */
  readonly steps: readonly Step[]
  readonly picks: readonly Pick[]
  /** Does each step, from the first of the innermost scope on, stand on the one before? Then nothing opens beside another. */
  readonly isChain?: boolean
}

/** The resources of one running service, or of one `open`, and how they stand on each other. */
export class Graph {
  readonly #steps = new Map<Definition, Step>()
  readonly #overrides = new Map<Definition, Replacement>()
  readonly #unused: Set<Replacement>
  readonly #kinds = new Map<string, Kind>()
  readonly #sizes = new Map<Kind, number>()
  readonly #plans: PlanNode = { next: new Map(), plan: undefined }
  /** Were dependencies added after a step had been made? Then the order of opening is not the order of standing. */
  #grown = false

  constructor(overrides: readonly Override[] = []) {
    const replacements = overrides.map(replacementOf)
    for (const replacement of replacements) {
      const target = definitionOf(replacement.target)!
      if (this.#overrides.has(target)) throw overriddenTwice(target)
      this.#overrides.set(target, replacement)
    }
    this.#unused = new Set(replacements)
  }

  /** Every step made so far, dependencies first. */
  get steps(): readonly Step[] {
    return [...this.#steps.values()]
  }

  /** Overrides that have replaced nothing so far. */
  get unused(): readonly Override[] {
    return [...this.#unused]
  }

  get grown(): boolean {
    return this.#grown
  }

  /**
   * What has to be open for these.
   *
   * @throws `ERR_NOT_A_RESOURCE`, `ERR_CYCLE`, `ERR_CAPTIVE`, `ERR_SCOPE_UNKNOWN`
   */
  plan(wanted: Resources): Plan {
    const node = nodeFor(this.#plans, wanted)
    return (node.plan ??= this.#compile(wanted))
  }

  #compile(wanted: Resources): Plan {
    const picks = Object.entries(wanted).map(([key, resource]) =>
      pickOf(key, this.#step(key, resource, [])),
    )
    const kind = picks.map((pick) => pick.step.kind).reduce(innermost, appKind)
    const steps = inOrder(picks)
    return { kind, picks, steps, isChain: isChain(steps, kind) }
  }

  /** The step of a resource, when a plan has reached it. */
  find(resource: unknown): Step | undefined {
    const definition = definitionOf(resource)
    return definition && this.#steps.get(this.#overrides.get(definition)?.definition ?? definition)
  }

  /** How messages call a definition. */
  nameOf(definition: Definition): string | undefined {
    return this.#steps.get(definition)?.name
  }

  /** `step` stands on `dependency` too, as was found out at run time. @throws `ERR_CYCLE` */
  grow(step: Step, dependency: Step): void {
    if (dependency === step || dependency.below.has(step.slot)) {
      throw cycle([step.name, dependency.name, step.name])
    }
    this.#grown = true
    for (const other of this.#steps.values()) {
      if (other.kind !== step.kind || (other !== step && !other.below.has(step.slot))) continue
      standOn(other, dependency)
    }
  }

  #step(key: string, resource: unknown, path: readonly Definition[]): Step {
    const found = definitionOf(resource)
    if (!found) throw notAResource(key, resource, this.#pathNames(path, key))
    const replacement = this.#overrides.get(found)
    const definition = replacement?.definition ?? found
    if (replacement) this.#unused.delete(replacement)
    const known = this.#steps.get(definition)
    if (known) return known
    this.#names.set(definition, definition.options.name ?? found.options.name ?? key)
    if (path.includes(definition)) {
      throw cycle(
        this.#pathNames(path.slice(path.indexOf(definition)), this.#names.get(definition)!),
      )
    }
    this.#meet(definition.kind)
    const deps = Object.entries(definition.deps ?? {}).map(([name, dep]) =>
      pickOf(name, this.#step(name, dep, [...path, definition])),
    )
    return this.#add(definition, deps, replacement?.how)
  }

  #add(definition: Definition, deps: readonly Pick[], replaced: Step['replaced']): Step {
    const { kind } = definition
    const slot = this.#sizes.get(kind) ?? 0
    const name = this.#names.get(definition)!
    const below = new Set<number>()
    const step = stepOf({ definition, name, kind, slot, deps, below, height: 0, replaced })
    for (const dep of deps) {
      if (!isWithin(kind, dep.step.kind)) throw captive(step, dep)
      if (dep.step.kind === kind) standOn(step, dep.step)
    }
    this.#checkNotes(step)
    this.#sizes.set(kind, slot + 1)
    this.#steps.set(definition, step)
    return step
  }

  /** Notes are found again by the name of who left them. @throws `ERR_BAD_OPTION` */
  #checkNotes({ name, leavesNotes }: Step): void {
    if (!leavesNotes || !this.steps.some((one) => one.name === name && one.leavesNotes)) return
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot keep the notes of two resources called "${name}" apart: give one of them another name, { name: '…' }`,
    )
  }

  /** Names by first use: the key, unless the options have one. */
  readonly #names = new Map<Definition, string>()

  #pathNames(path: readonly Definition[], last: string): string[] {
    return [...path.map((definition) => this.#names.get(definition)!), last]
  }

  #meet(kind: Kind): void {
    for (let one: Kind | undefined = kind; one; one = one.parent) {
      const known = this.#kinds.get(one.name)
      if (known && known !== one) {
        throw new StewardError(
          'ERR_SCOPE_UNKNOWN',
          `Cannot use two scopes called "${one.name}": they were made by two calls of per('${one.name}', …), make it once and import it`,
        )
      }
      this.#kinds.set(one.name, one)
    }
  }
}

/**
 * Plans are found by what is wanted, not by the object that says so: `run({ orders }, …)` writes a new one each time.
 * One level per wanted resource.
 */
interface PlanNode {
  readonly next: Map<unknown, Map<string, PlanNode>>
  plan: Plan | undefined
}

function nodeFor(root: PlanNode, wanted: Resources): PlanNode {
  let node = root
  for (const key in wanted) {
    const resource = wanted[key]
    let byKey = node.next.get(resource)
    if (!byKey) node.next.set(resource, (byKey = new Map()))
    let next = byKey.get(key)
    if (!next) byKey.set(key, (next = { next: new Map(), plan: undefined }))
    node = next
  }
  return node
}

function innermost(one: Kind, other: Kind): Kind {
  if (isWithin(one, other)) return one
  if (isWithin(other, one)) return other
  throw new StewardError(
    'ERR_SCOPE_UNKNOWN',
    `Cannot open resources of the ${one.name} and of the ${other.name} together: neither scope lies within the other, open them apart`,
  )
}

function standOn(step: Step, dependency: Step): void {
  step.below.add(dependency.slot)
  for (const slot of dependency.below) step.below.add(slot)
  step.height = Math.max(step.height, dependency.height + 1)
}

function isChain(steps: readonly Step[], kind: Kind): boolean {
  const chain = steps.slice(steps.findIndex((step) => step.kind === kind))
  return chain.every(
    (step, index) => step.kind === kind && (index === 0 || step.below.has(chain[index - 1]!.slot)),
  )
}

function inOrder(picks: readonly Pick[]): Step[] {
  const order = new Set<Step>()
  const visit = (step: Step): void => {
    if (order.has(step)) return
    for (const dep of step.deps) visit(dep.step)
    order.add(step)
  }
  for (const pick of picks) visit(pick.step)
  return [...order]
}

/** The way from what was wanted to a step: `['users', 'tx', 'pool']`. */
export function pathTo(plan: Plan, target: Step): string[] {
  const search = (pick: Pick): string[] | undefined => {
    if (pick.step === target) return [pick.step.name]
    for (const dep of pick.step.deps) {
      const rest = search(dep)
      if (rest) return [pick.step.name, ...rest]
    }
    return undefined
  }
  for (const pick of plan.picks) {
    const path = search(pick)
    if (path) return path
  }
  return [target.name]
}

function replacementOf(override: Override): Replacement {
  if (override instanceof Replacement) return override
  throw new StewardError(
    'ERR_BAD_OPTION',
    `Cannot use ${describe(override)} in "with": pass what fake(…) or swap(…) returned`,
  )
}

function notAResource(key: string, found: unknown, path: readonly string[]): StewardError {
  if (found === undefined) {
    return new StewardError(
      'ERR_CYCLE',
      `Cannot open "${key}": it is undefined where ${path.join(' → ')} names it, most likely because two modules import each other; move what both need into a third module`,
      { path },
    )
  }
  return new StewardError(
    'ERR_NOT_A_RESOURCE',
    `Cannot open "${key}": ${path.length > 1 ? `${path.join(' → ')} leads to ` : 'it is '}${describe(found)}, which is no resource; wrap it: perApp(() => value)`,
    { path },
  )
}

function cycle(path: readonly string[]): StewardError {
  return new StewardError(
    'ERR_CYCLE',
    `Cannot open "${path[0]}": it needs itself, ${path.join(' → ')}; take one of these dependencies away, or move what both need into a resource of its own`,
    { path },
  )
}

/** The error of a resource that would outlive what it stands on. */
export function captive(step: Step, dep: Pick): StewardError {
  return new StewardError(
    'ERR_CAPTIVE',
    `Cannot open "${step.name}": it needs "${dep.step.name}", which is closed with its ${dep.step.kind.name}, but this ${step.kind.name} resource would still hold it; make "${step.name}" live shorter or "${dep.step.name}" longer`,
    { path: [step.name, dep.step.name] },
  )
}

function overriddenTwice({ options: { name }, kind }: Definition): StewardError {
  const what = name === undefined ? `a resource of the ${kind.name}` : `"${name}"`
  return new StewardError(
    'ERR_BAD_OPTION',
    `Cannot replace ${what} twice in "with": take one of the two away`,
  )
}

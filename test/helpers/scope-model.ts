import fc from 'fast-check'
import { App } from '../../src/scope/app.ts'
import type { OpenContext } from '../../src/scope/context.ts'
import {
  perApp,
  perHandler,
  perRequest,
  type Context,
  type Ending,
  type Resource,
  type Resources,
} from '../../src/scope/resource.ts'
import { runIn } from '../../src/scope/run.ts'
import type { Scope } from '../../src/scope/scope.ts'
import { FakeWorld } from './fake-world.ts'

const SCOPES = ['app', 'request', 'handler'] as const
const FORMS = ['plain', 'promise', 'generator', 'asyncGenerator', 'use', 'disposable'] as const

/** One resource of a random graph. What it stands on are numbers of earlier ones. */
export interface Node {
  readonly scope: (typeof SCOPES)[number]
  readonly form: (typeof FORMS)[number]
  readonly deps: readonly number[]
  /** How many turns of the scheduler it takes, where its form can wait. */
  readonly openTurns: number
  readonly closeTurns: number
  readonly openFails: boolean
  readonly closeFails: boolean
  /** Does it end its opening when it is asked to? */
  readonly heeds: boolean
  readonly lazy: boolean
}

/** One piece of work, begun whenever the scheduler likes. */
export interface Work {
  readonly wanted: readonly number[]
  readonly turns: number
  readonly fails: boolean
}

/** A whole life of an app. */
export interface Life {
  readonly nodes: readonly Node[]
  readonly start: readonly number[]
  readonly works: readonly Work[]
  /** What ends it: its close when all work is done, or, in the middle, a close, a cut, an abort of the start. */
  readonly stop: 'end' | 'close' | 'cut' | 'abort'
}

/** One opening of one resource. */
export interface Instance {
  readonly id: number
  readonly node: number
  readonly scope: Scope
  readonly deps: readonly Instance[]
  /** Moments, counted; a turn is how often the scheduler had acted by then. */
  readonly began: Moment
  opened?: Moment
  closing?: Moment
  closed?: Moment
  ending?: Ending
  closings: number
}

export interface Moment {
  readonly at: number
  readonly turn: number
}

/** What became of a piece of work, or of a start or a stop: absent when it has not settled. */
export type Outcome = { readonly value: unknown } | { readonly error: unknown } | undefined

export interface History {
  readonly instances: readonly Instance[]
  /** What resources and work threw, and at which turn. */
  readonly thrown: ReadonlyMap<unknown, number>
  /** Errors that were told as events. */
  readonly told: readonly unknown[]
  readonly works: readonly { outcome: Outcome; began?: Moment; reached: boolean; error: Error }[]
  readonly started: Outcome
  readonly stopped: Outcome
}

/** Counted from the last: it stands on most. */
const numbers = fc.array(fc.nat(20), { maxLength: 4, size: 'max' })
const rarely = fc.nat(19).map((n) => n === 19)

/** Every part of a node that does not depend on the others. */
const parts = fc.record({
  scope: fc.constantFrom(...SCOPES, 'app', 'request'),
  form: fc.constantFrom(...FORMS),
  openTurns: fc.nat(2),
  closeTurns: fc.nat(2),
  openFails: rarely,
  closeFails: rarely,
  heeds: fc.boolean(),
  lazy: rarely,
  deps: numbers,
})

/** Dependencies go to earlier nodes that live at least as long. */
function toNodes(all: readonly (Omit<Node, 'deps'> & { deps: number[] })[]): Node[] {
  return all.map((one, index) => {
    const depth = SCOPES.indexOf(one.scope)
    const fit = [...all.keys()].filter(
      (at) => at < index && SCOPES.indexOf(all[at]!.scope) <= depth,
    )
    const deps = fit.length === 0 ? [] : one.deps.map((dep) => fit.at(-1 - (dep % fit.length))!)
    return { ...one, deps: [...new Set(deps)] }
  })
}

/** Made in one go, so that each part shrinks by itself. */
export const lives: fc.Arbitrary<Life> = fc
  .record({
    nodes: fc.array(parts, { minLength: 1, maxLength: 12, size: 'max' }),
    start: numbers,
    works: fc.array(fc.record({ wanted: numbers, turns: fc.nat(2), fails: rarely }), {
      maxLength: 4,
      size: 'max',
    }),
    stop: fc.constantFrom('end', 'end', 'close', 'cut', 'abort'),
  })
  .map(({ nodes, start, works, stop }) => {
    const within = (all: number[]) => [
      ...new Set(all.map((one) => nodes.length - 1 - (one % nodes.length))),
    ]
    const life = {
      nodes: toNodes(nodes),
      start: within(start),
      works: works.map((work) => ({ ...work, wanted: within(work.wanted) })),
      stop,
    } as const
    return Object.assign(life, { [fc.toStringMethod]: () => picture(life) })
  })

/** A life in a few lines, for the report of a counterexample. */
function picture({ nodes, start, works, stop }: Life): string {
  const names = (all: readonly number[]): string => all.map((one) => `n${one}`).join(', ') || '–'
  const shown = nodes.map((node, index) => {
    const marks = (['openFails', 'closeFails', 'heeds', 'lazy'] as const).filter((one) => node[one])
    const turns = `opens in ${node.openTurns}, closes in ${node.closeTurns}`
    return `n${index}: ${node.scope} ${node.form} ← ${names(node.deps)}; ${turns} ${marks.join(' ')}`
  })
  const done = works.map(
    (one) => `work on ${names(one.wanted)}, ${one.turns} turns${one.fails ? ', fails' : ''}`,
  )
  return ['', ...shown, `start: ${names(start)}`, ...done, `stop: ${stop}`, ''].join('\n')
}

/** Lives a life on real scopes, with everything that takes time in the hands of the scheduler. */
export class Simulation {
  readonly instances: Instance[] = []
  readonly thrown = new Map<unknown, number>()
  readonly told: unknown[] = []
  readonly works: { outcome: Outcome; began?: Moment; reached: boolean; error: Error }[]
  started: Outcome = undefined
  stopped: Outcome = undefined
  readonly #life: Life
  readonly #scheduler: fc.Scheduler
  readonly #app: App
  readonly #resources: Resource<Instance>[] = []
  #moments = 0
  #turns = 0

  constructor(life: Life, scheduler: fc.Scheduler) {
    this.#life = life
    this.#scheduler = scheduler
    this.works = life.works.map((_, index) => ({
      outcome: undefined,
      reached: false,
      error: new Error(`work ${index}`),
    }))
    this.#app = new App({
      world: new FakeWorld(),
      emit: (event) => {
        if ('error' in event && event.error !== undefined) this.told.push(event.error)
      },
    })
    for (const [index, node] of life.nodes.entries()) this.#resources.push(this.#make(index, node))
  }

  async live(): Promise<History> {
    const stop = new AbortController()
    const opening = this.#app.open([this.#wanted(this.#life.start)], {
      signal: stop.signal,
      rollback: 1_000,
    })
    if (this.#life.stop === 'abort') void this.#turn('abort').then(() => stop.abort())
    const living = outcomeOf(opening).then(async (started) => {
      this.started = started
      if ('value' in started) await this.#work()
    })
    await this.#scheduler.waitIdle()
    await living
    return this
  }

  async #work(): Promise<void> {
    const { works, stop } = this.#life
    const working = Promise.all(works.map((work, index) => this.#run(work, index)))
    if (stop === 'end') await working
    else await this.#turn(stop)
    if (stop !== 'cut') await this.#app.scope.idle()
    this.stopped = await outcomeOf(this.#app.scope.end({ ok: true }) ?? Promise.resolve())
    await working
  }

  async #run(work: Work, index: number): Promise<void> {
    const record = this.works[index]!
    await this.#turn(`work ${index} begins`)
    record.began = this.#now()
    const running = runIn(this.#app.scope, this.#wanted(work.wanted), async () => {
      record.reached = true
      for (let turn = 0; turn < work.turns; turn++) await this.#turn(`work ${index}`)
      if (!work.fails) return index
      throw this.#threw(record.error)
    })
    record.outcome = await outcomeOf(running)
  }

  #wanted(numbers: readonly number[]): Resources {
    return Object.fromEntries(numbers.map((number) => [`n${number}`, this.#resources[number]!]))
  }

  #now(): Moment {
    return { at: this.#moments++, turn: this.#turns }
  }

  async #turn(label: string): Promise<void> {
    await this.#scheduler.schedule(Promise.resolve(), label)
    this.#turns++
  }

  #threw(error: Error): Error {
    this.thrown.set(error, this.#turns)
    return error
  }

  #make(number: number, node: Node): Resource<Instance> {
    const deps = Object.fromEntries(node.deps.map((dep) => [`n${dep}`, this.#resources[dep]!]))
    const makers = { app: perApp, request: perRequest, handler: perHandler }
    const make = makers[node.scope] as typeof perHandler
    const options = node.form === 'disposable' ? { dispose: true } : {}
    const lazy = node.scope === 'app' && node.lazy
    return make(deps as never, this.#opener(number, node) as never, { ...options, lazy }) as never
  }

  #opener(
    number: number,
    node: Node,
  ): (deps: Record<string, Instance>, context: Context) => unknown {
    const begin = (deps: Record<string, Instance>, context: Context): Instance => {
      const { scope } = context as OpenContext
      const found = Object.values(deps)
      const began = this.#now()
      const id = this.instances.length
      const instance = { id, node: number, scope, deps: found, began, closings: 0 }
      this.instances.push(instance)
      return instance
    }
    switch (node.form) {
      case 'plain':
        return (deps, context) => this.#opened(begin(deps, context), node)
      case 'promise':
        return async (deps, context) => this.#openSlowly(begin(deps, context), node, context)
      case 'disposable':
        return async (deps, context) => {
          const instance = await this.#openSlowly(begin(deps, context), node, context)
          const close = (): Promise<void> => this.#closeSlowly(instance, node)
          return Object.assign(instance, { [Symbol.asyncDispose]: close })
        }
      case 'generator':
        return (deps, context) => this.#syncLife(begin(deps, context), node)
      case 'asyncGenerator':
        return (deps, context) => this.#asyncLife(begin(deps, context), node, context)
      case 'use':
        return async (deps, context) => {
          const { use } = context
          const instance = await this.#openSlowly(begin(deps, context), node, context)
          const known = await use(instance).then(
            () => undefined,
            (error: unknown) => ({ error }),
          )
          await this.#closeSlowly(instance, node, known ? { ok: false, ...known } : { ok: true })
          if (known) throw known.error
        }
    }
  }

  *#syncLife(instance: Instance, node: Node): Generator<Instance, void, Ending> {
    this.#closing(instance, yield this.#opened(instance, node))
    this.#closed(instance, node)
  }

  async *#asyncLife(
    instance: Instance,
    node: Node,
    context: Context,
  ): AsyncGenerator<Instance, void, Ending> {
    await this.#closeSlowly(instance, node, yield await this.#openSlowly(instance, node, context))
  }

  async #openSlowly(instance: Instance, node: Node, { opening }: Context): Promise<Instance> {
    for (let turn = 0; turn < node.openTurns; turn++) {
      await this.#turn(`n${instance.node} opens`)
      if (node.heeds) opening.throwIfAborted()
    }
    return this.#opened(instance, node)
  }

  #opened(instance: Instance, node: Node): Instance {
    if (node.openFails) throw this.#threw(new Error(`open n${instance.node} #${instance.id}`))
    instance.opened = this.#now()
    return instance
  }

  async #closeSlowly(instance: Instance, node: Node, ending?: Ending): Promise<void> {
    this.#closing(instance, ending)
    for (let turn = 0; turn < node.closeTurns; turn++) await this.#turn(`n${instance.node} closes`)
    this.#closed(instance, node)
  }

  #closing(instance: Instance, ending?: Ending): void {
    instance.closing = this.#now()
    instance.closings++
    if (ending) instance.ending = ending
  }

  #closed(instance: Instance, node: Node): void {
    instance.closed = this.#now()
    if (node.closeFails) throw this.#threw(new Error(`close n${instance.node} #${instance.id}`))
  }
}

async function outcomeOf(work: Promise<unknown>): Promise<NonNullable<Outcome>> {
  return work.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
}

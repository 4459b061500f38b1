import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { isStewardError } from '../../src/base/errors.ts'
import { within } from '../helpers/within.ts'
import {
  lives,
  Simulation,
  type History,
  type Instance,
  type Life,
  type Node,
  type Outcome,
} from '../helpers/scope-model.ts'

const GRAPHS = 4_000

const isHeld = ({ form }: Node): boolean => form !== 'plain' && form !== 'promise'

const nameOf = ({ node, id }: Instance): string => `n${node} #${id}`

/** All that an instance stands on, directly or not. */
function below(instance: Instance, found = new Set<Instance>()): Set<Instance> {
  for (const dep of instance.deps) {
    if (!found.has(dep)) below(dep, found.add(dep))
  }
  return found
}

/** The errors of an outcome, one by one, and those that came with them. */
function errorsIn(outcome: Outcome): unknown[] {
  return outcome && 'error' in outcome ? flat(outcome.error) : []
}

function flat(error: unknown): unknown[] {
  if (isStewardError(error, 'ERR_OPEN_ABORTED')) return [error, ...error.errors.flatMap(flat)]
  return isStewardError(error) && error.errors.length > 0 ? error.errors.flatMap(flat) : [error]
}

/** What must hold of every life, whatever failed and whenever it was stopped. */
const always: Record<string, (life: Life, history: History) => void> = {
  'everything settles'(_, { started, stopped, works }) {
    assert.ok(started, 'the start has not settled')
    if ('error' in started) return
    assert.ok(stopped, 'the stop has not settled')
    for (const { outcome } of works) assert.ok(outcome, 'work has not settled')
  },

  'opens only what stands on open resources'(_, { instances }) {
    for (const instance of instances) {
      for (const dep of instance.deps) {
        const text = `${nameOf(instance)} opened on ${nameOf(dep)}`
        assert.ok(dep.opened && dep.opened.at < instance.began.at, `${text}, which was not open`)
        assert.ok(
          !(dep.closing && dep.closing.at < instance.began.at),
          `${text}, which was closing`,
        )
      }
    }
  },

  'gives each opener what it asked for'({ nodes }, { instances }) {
    for (const instance of instances) {
      assert.deepEqual(
        instance.deps.map((dep) => dep.node),
        nodes[instance.node]!.deps,
      )
    }
  },

  'opens once per scope, and does not remember a failure'(_, { instances }) {
    const groups = Map.groupBy(instances, ({ scope }) => scope)
    for (const inScope of groups.values()) {
      for (const attempts of Map.groupBy(inScope, ({ node }) => node).values()) {
        for (const [index, attempt] of attempts.slice(0, -1).entries()) {
          const failed = attempt.opened === undefined || attempt.ending?.ok === false
          assert.ok(failed, `${nameOf(attempt)} opened again as ${nameOf(attempts[index + 1]!)}`)
        }
      }
    }
  },

  'closes everything that was open, once'({ nodes }, { instances }) {
    for (const instance of instances) {
      const times = instance.opened && isHeld(nodes[instance.node]!) ? 1 : 0
      assert.equal(
        instance.closings,
        times,
        `${nameOf(instance)} closed ${instance.closings} times`,
      )
    }
  },

  'closes dependents before what they stand on'({ nodes }, { instances }) {
    for (const instance of instances) {
      if (!instance.opened || !isHeld(nodes[instance.node]!)) continue
      for (const lower of below(instance)) {
        if (!lower.closing) continue
        const text = `${nameOf(lower)} closed under ${nameOf(instance)}`
        assert.ok(instance.closed && instance.closed.at < lower.closing.at, text)
      }
    }
  },

  'closes the last opened first, where several may be closed'({ nodes }, { instances }) {
    // With use, the close begins some microtasks after it was asked for
    const closing = instances.filter((one) => one.closing && nodes[one.node]!.form !== 'use')
    for (const one of closing) {
      for (const other of closing) {
        if (one.scope !== other.scope || one.closing!.turn !== other.closing!.turn) continue
        if (one.opened!.turn <= other.opened!.turn) continue
        const hadToWait = instances.some((above) => below(above).has(one))
        const text = `${nameOf(other)} closed before ${nameOf(one)}`
        assert.ok(hadToWait || one.closing!.at < other.closing!.at, text)
      }
    }
  },

  'loses no error'(_, { thrown, told, started, stopped, works }) {
    const outcomes = [started, stopped, ...works.map(({ outcome }) => outcome)]
    const reported = new Set([...outcomes.flatMap(errorsIn), ...told])
    for (const error of thrown.keys()) assert.ok(reported.has(error), `${String(error)} was lost`)
  },

  "puts the work's own error first, then those of its closes, in order"(_, { thrown, works }) {
    for (const [index, { outcome, error }] of works.entries()) {
      const errors = errorsIn(outcome)
      if (thrown.has(error)) {
        assert.equal(errors[0], error, `work ${index} rejected with ${String(errors[0])}`)
      }
      const closes = errors.filter((one) => (one as Error).message.startsWith('close'))
      const turns = closes.map((one) => thrown.get(one)!)
      assert.deepEqual(
        turns,
        turns.toSorted((one, other) => one - other),
      )
    }
  },

  'tells how the scope ended'({ stop }, { instances, works, started }) {
    const failed = new Set(works.flatMap(({ outcome }) => errorsIn(outcome)))
    for (const instance of instances) {
      const { ending } = instance
      if (!ending) continue
      const isRollback = started !== undefined && 'error' in started
      assert.ok(!(ending.ok && isRollback), `${nameOf(instance)}: ok in a rollback`)
      const known = ending.ok || stop !== 'end' || isStewardError(ending.error)
      if (known || isRollback) continue
      assert.ok(failed.has(ending.error), `${nameOf(instance)} was told ${String(ending.error)}`)
    }
  },
}

/** What must hold of a life in which nothing fails and nobody stops it in the middle. */
const whenAllIsWell: typeof always = {
  'gives every work its result'(_, { works, started, stopped }) {
    assert.deepEqual(
      works.map(({ outcome }) => outcome),
      works.map((_, value) => ({ value })),
    )
    assert.deepEqual([started, stopped], [{ value: undefined }, { value: undefined }])
  },

  'tells every close that all is well'(_, { instances }) {
    for (const { ending } of instances) if (ending) assert.equal(ending.ok, true)
  },

  'waits for nothing but dependencies when it opens'(_, { instances, works }) {
    const begins = new Set([0, ...works.map(({ began }) => began!.turn)])
    for (const instance of instances) {
      const ready = instance.deps.map((dep) => dep.opened!.turn)
      const { turn } = instance.began
      const text = `${nameOf(instance)} was ready at ${ready.join(', ')} and opened at ${turn}`
      assert.ok(ready.includes(turn) || begins.has(turn), text)
    }
  },

  'waits for nothing but dependents when it closes'({ nodes }, { instances }) {
    for (const inScope of Map.groupBy(instances, ({ scope }) => scope).values()) {
      const held = inScope.filter((one) => isHeld(nodes[one.node]!))
      const first = Math.min(...held.map((one) => one.closing!.turn))
      for (const one of held) {
        const above = held.filter((other) => below(other).has(one))
        const ready = Math.max(first, ...above.map((other) => other.closed!.turn))
        assert.equal(one.closing!.turn, ready, `${nameOf(one)} could close at ${ready}`)
      }
    }
  },
}

const isWell = ({ nodes, works, stop }: Life): boolean =>
  stop === 'end' &&
  ![
    ...nodes.map((one) => one.openFails || one.closeFails),
    ...works.map((one) => one.fails),
  ].includes(true)

describe('scopes, in random lives', () => {
  it(`R1 R2 R3 R4 R6 R9 hold in ${GRAPHS} graphs, whatever fails and whenever it is stopped`, async () => {
    const counts = { well: 0, failedStarts: 0, instances: 0 }
    const property = fc.asyncProperty(lives, fc.scheduler(), async (life, scheduler) => {
      const simulation = new Simulation(life, scheduler)
      const history = await within(5_000, simulation.live(), 'a life that hangs')
      const rules = isWell(life) ? { ...always, ...whenAllIsWell } : always
      for (const [rule, holds] of Object.entries(rules)) {
        try {
          holds(life, history)
        } catch (error) {
          throw new Error(`It ${rule}: ${(error as Error).message}`, { cause: error })
        }
      }
      if (isWell(life)) counts.well++
      if (history.started && 'error' in history.started) counts.failedStarts++
      counts.instances += history.instances.length
    })
    await fc.assert(property, { numRuns: GRAPHS, unbiased: true })
    assert.ok(
      counts.well > GRAPHS / 20 && counts.failedStarts > GRAPHS / 20,
      JSON.stringify(counts),
    )
    assert.ok(counts.instances > 2 * GRAPHS, JSON.stringify(counts))
  })
})

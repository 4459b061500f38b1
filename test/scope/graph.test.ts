import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Graph, pathTo } from '../../src/scope/graph.ts'
import { open } from '../../src/scope/live.ts'
import { fake, swap } from '../../src/scope/override.ts'
import { picture } from '../../src/scope/picture.ts'
import {
  perApp,
  perHandler,
  perRequest,
  type Resource,
  type Resources,
} from '../../src/scope/resource.ts'
import { FakeWorld } from '../helpers/fake-world.ts'
import { stewardErrorOf } from '../helpers/traced.ts'
import { within } from '../helpers/within.ts'
/** Dependencies as plain JavaScript may write them. */

const loose = (deps: Record<string, unknown>): Record<string, Resource<unknown, 'app'>> =>
  deps as never

describe('a graph', () => {
  it('R8 refuses a shorter-lived dependency in words', async () => {
    const tx = perHandler(() => 1)
    const session = perRequest(() => 1)
    const cases: [Resource<unknown>, RegExp][] = [
      [
        perApp(loose({ tx }), () => 1),
        /"bad": it needs "tx", which is closed with its handler, but this app/,
      ],
      [
        perApp(loose({ session }), () => 1),
        /"session", which is closed with its request, but this app/,
      ],
      [
        perRequest(loose({ tx }), () => 1),
        /"tx", which is closed with its handler, but this request/,
      ],
    ]
    for (const [bad, message] of cases) {
      const error = await stewardErrorOf(() => new Graph().plan({ bad }))
      assert.equal(error.code, 'ERR_CAPTIVE')
      assert.match(error.message, message)
      assert.equal(error.path[0], 'bad')
    }
    const error = await stewardErrorOf(open({ tx } as never))
    assert.match(error.message, /Cannot open "tx" with the app: it is closed with its handler/)
  })

  it('R8 reports a cycle with its path', async () => {
    const deps: Record<string, Resource<unknown, 'app'>> = {}
    const a = perApp(deps, () => 1)
    const b = perApp({ a }, () => 1)
    const c = perApp({ b }, () => 1)
    const top = perApp({ c }, () => 1)
    deps['c'] = c
    const error = await stewardErrorOf(() => new Graph().plan({ top }))
    assert.equal(error.code, 'ERR_CYCLE')
    assert.deepEqual(error.path, ['c', 'b', 'a', 'c'])
    assert.match(error.message, /Cannot open "c": it needs itself, c → b → a → c/)
  })

  it('R8 reports what a circular import left undefined, with a hint', async () => {
    const a = perApp(loose({ b: undefined }), () => 1)
    const c = perApp({ a }, () => 1)
    const error = await stewardErrorOf(open({ c }))
    assert.equal(error.code, 'ERR_CYCLE')
    assert.deepEqual(error.path, ['c', 'a', 'b'])
    assert.match(
      error.message,
      /undefined where c → a → b names it, .*two modules import each other/,
    )
  })

  it('reports what is no resource, with its path', async () => {
    const a = perApp(loose({ port: 80 }), () => 1)
    const error = await stewardErrorOf(open({ a }))
    assert.equal(error.code, 'ERR_NOT_A_RESOURCE')
    assert.match(error.message, /a → port leads to 80 \(number\), which is no resource/)
  })

  it('R8 reports a cycle that an override closes', async () => {
    const a = perApp(() => 1)
    const b = perApp({ a }, () => 2)
    const stand = perApp({ b }, ({ b }) => b)
    const error = await stewardErrorOf(open({ b }, { with: [swap(a, stand)] }))
    assert.equal(error.code, 'ERR_CYCLE')
  })

  it('finds a plan by what is wanted, not by the object that says so', () => {
    const graph = new Graph()
    const [a, b] = [perApp(() => 1), perRequest(() => 2)]
    const wanted: Resources[] = [{ a, b }, { b, a }, { a }, { b: a, a: b }, {}, { a, c: b }]
    const plans = wanted.map((one) => graph.plan(one))
    assert.equal(new Set(plans).size, wanted.length)
    for (const [index, one] of wanted.entries()) {
      assert.equal(graph.plan({ ...one }), plans[index])
      assert.deepEqual(
        plans[index]!.picks.map((pick) => pick.key),
        Object.keys(one),
      )
    }
  })

  it('names the way to a step', () => {
    const pool = perApp(() => 1)
    const tx = perRequest({ pool }, () => 1)
    const users = perRequest({ tx }, () => 1)
    const graph = new Graph()
    const plan = graph.plan({ pool2: pool, users })
    assert.deepEqual(pathTo(plan, graph.find(tx)!), ['users', 'tx'])
    assert.deepEqual(pathTo(plan, graph.find(pool)!), ['pool2'])
  })

  it('plans 600 resources, each on three others, in no time', async () => {
    const all: Resource<number, 'app'>[] = []
    for (let i = 0; i < 600; i++) {
      const deps = Object.fromEntries(all.slice(-3).map((one, at) => [`dep${at}`, one]))
      all.push(perApp(deps, () => i))
    }
    const last = all.at(-1)!
    const app = await within(2_000, open({ last }))
    assert.equal(app.values.last, 599)
    await within(2_000, app.close())
  })
})

describe('a picture', () => {
  const pool = perApp(() => 1, { exclusive: true })
  const mailer = perApp(() => 1)
  const cache = perApp({ pool }, () => 1, { lazy: true })
  const tx = perRequest({ pool }, () => 1)
  const users = perHandler({ tx, cache, mailer }, () => 1)
  const graph = new Graph([fake(mailer, 2)])
  graph.plan({ users })

  it('R17 in mermaid has scopes as boxes, and marks', () => {
    assert.equal(
      picture(graph, 'mermaid'),
      `flowchart LR
  subgraph app
    app_0["pool (exclusive)"]
    app_1["cache (lazy)"]
    app_2["mailer (faked)"]
  end
  subgraph request
    request_0["tx"]
  end
  subgraph handler
    handler_0["users"]
  end
  request_0 --> app_0
  app_1 --> app_0
  handler_0 --> request_0
  handler_0 --> app_1
  handler_0 --> app_2
`,
    )
  })

  it('R17 in dot has scopes as clusters', () => {
    const drawn = picture(graph, 'dot')
    assert.match(drawn, /^digraph resources \{\n {2}rankdir=LR/)
    assert.match(
      drawn,
      / {2}subgraph "cluster_request" \{\n {4}label="request"\n {4}request_0 \[label="tx"\]/,
    )
    assert.match(drawn, / {2}handler_0 -> app_2\n\}\n$/)
  })

  it('R17 is drawn by an open app, quotes and all', async () => {
    const odd = perApp(() => 1, { name: 'the "odd" one' })
    await using app = await open({ odd })
    assert.match(app.graph(), /app_0\["the &quot;odd&quot; one"\]/)
    assert.match(app.graph('dot'), /label="the \\"odd\\" one"/)
  })
})

describe('health()', () => {
  it('R16 asks in parallel; one failure hides no other', async () => {
    const all = Promise.withResolvers<void>()
    let asked = 0
    const check = async (): Promise<void> => {
      if (++asked === 3) all.resolve()
      await all.promise
    }
    const failing = (message: string) => async () => {
      await check()
      throw new Error(message)
    }
    const a = perApp(() => 1, { check: failing('a') })
    const b = perApp(() => 1, { check: failing('b') })
    const c = perApp(() => 1, { check })
    await using app = await open({ a, b, c, unchecked: perApp(() => 1) })
    const report = await within(1_000, app.health(), 'three checks that wait for each other')
    assert.deepEqual(
      Object.entries(report.checks).map(([name, one]) => [name, one.ok, String(one.error)]),
      [
        ['a', false, 'Error: a'],
        ['b', false, 'Error: b'],
        ['c', true, 'undefined'],
      ],
    )
    assert.deepEqual([report.ok, report.ready], [false, true])
  })

  it('R16 is not ready only when a critical one fails', async () => {
    const fails = (): never => {
      throw new Error('no')
    }
    const critical = perApp(() => 1, { check: fails, critical: true })
    await using app = await open({ critical })
    const report = await app.health()
    assert.deepEqual([report.ok, report.ready], [false, false])
    assert.equal(report.checks['critical']?.critical, true)
  })

  it('R16 limits each check, and aborts it', async () => {
    const world = new FakeWorld()
    let signal: AbortSignal | undefined
    const stuck = perApp(() => 1, {
      check: (_, context) => {
        signal = context.signal
        return new Promise(() => {})
      },
    })
    const well = perApp(() => 1, { check: (value) => value === 1 })
    await using app = await open({ stuck, well }, { world })
    const asking = app.health()
    await world.advance(5_000)
    const report = await within(1_000, asking)
    assert.equal(report.checks['well']?.ok, true)
    assert.equal(report.checks['stuck']?.took, 5_000)
    assert.equal(
      (report.checks['stuck']?.error as { code?: string } | undefined)?.code,
      'ERR_CHECK_TIMEOUT',
    )
    assert.equal(signal?.aborted, true)
  })

  it('R16 asks only what is open', async () => {
    const lazy = perApp(() => 1, { check: () => true, lazy: true })
    await using app = await open({ lazy })
    assert.deepEqual((await app.health()).checks, {})
    await app.run({ lazy }, () => 0)
    assert.deepEqual(Object.keys((await app.health()).checks), ['lazy'])
  })

  it('R16 keeps two resources of one name apart', async () => {
    const one = perApp(() => 1, { name: 'db', check: () => Promise.reject(new Error('no')) })
    const other = perApp(() => 1, { name: 'db', check: () => true })
    await using app = await open({ one, other })
    const { checks } = await app.health()
    assert.deepEqual(
      Object.entries(checks).map(([name, { ok }]) => [name, ok]),
      [
        ['db', false],
        ['db (2)', true],
      ],
    )
  })
})

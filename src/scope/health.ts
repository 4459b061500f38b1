import { atMost, Deadline } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { App } from './app.ts'
import type { Step } from './graph.ts'

/** What the check of one resource said. `took` is in milliseconds. */
export interface Check {
  readonly ok: boolean
  readonly critical: boolean
  readonly took: number
  readonly error?: unknown
}

/** How the open resources are: `ok` when every check passed, `ready` when every critical one did. */
export interface HealthReport {
  readonly ok: boolean
  readonly ready: boolean
  readonly checks: Readonly<Record<string, Check>>
}

const CHECK_LIMIT = 5_000

/** Asks every open resource of the app that has a `check`: in parallel, each at most 5 s; one failure hides no other. */
export async function health(app: App): Promise<HealthReport> {
  const steps = app.graph.steps.filter((step) => isChecked(app, step))
  const checks = await Promise.all(steps.map((step) => check(app, step)))
  const names = uniqueNames(steps)
  return {
    ok: checks.every((one) => one.ok),
    ready: checks.every((one) => one.ok || !one.critical),
    checks: Object.fromEntries(checks.map((one, index) => [names[index]!, one])),
  }
}

/** Two resources may go by one name; a report that is read by name must show both. */
function uniqueNames(steps: readonly Step[]): string[] {
  const counts = new Map<string, number>()
  return steps.map(({ name }) => {
    const count = (counts.get(name) ?? 0) + 1
    counts.set(name, count)
    return count === 1 ? name : `${name} (${count})`
  })
}

function isChecked(app: App, step: Step): boolean {
  return (
    step.kind === app.scope.kind &&
    step.definition.options.check !== undefined &&
    app.scope.has(step)
  )
}

async function check(app: App, step: Step): Promise<Check> {
  const { world } = app.root
  const began = world.now()
  const { critical = false } = step.definition.options
  const controller = new AbortController()
  const run = step.definition.options.check as (
    value: unknown,
    context: { signal: AbortSignal },
  ) => unknown
  const work = (async () => run(app.scope.valueOf(step), { signal: controller.signal }))()
  try {
    const late = (await atMost(work, Deadline.in(CHECK_LIMIT, world))) === 'late'
    if (late) throw checkLate(step)
    return { ok: true, critical, took: world.now() - began }
  } catch (error) {
    controller.abort(error)
    return { ok: false, critical, took: world.now() - began, error }
  }
}

function checkLate(step: Step): StewardError {
  return new StewardError(
    'ERR_CHECK_TIMEOUT',
    `Cannot say that "${step.name}" is well: its check gave no answer in ${CHECK_LIMIT} ms`,
  )
}

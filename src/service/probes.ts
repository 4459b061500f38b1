import type { HealthAnswer, HealthOptions } from '../http/health.ts'
import type { HealthReport } from '../scope/health.ts'

/** Where the probes are answered on the app's port. */
export interface ProbePaths {
  /** @default '/livez' */
  live: string
  /** @default '/readyz' */
  ready: string
  /** Readiness stays as it was through the stop, for balancers that know of it by other means. @default false */
  keepReady: boolean
}

/** What readiness is taken from. */
interface Probed {
  readonly state: string
  /** Does it leave while others serve on? */
  readonly staysReady: boolean
  health(): Promise<HealthReport>
}

/** Readiness: the service is running and every critical check passes. Probes that come together share one round of checks. */
export function healthOf(service: Probed, paths: ProbePaths): HealthOptions {
  let round: Promise<HealthReport> | undefined
  const report = async (): Promise<HealthAnswer> => {
    if (service.state !== 'running' && !staysReady(service, paths)) {
      return { ready: false, body: { ready: false, state: service.state } }
    }
    round ??= service.health().finally(() => (round = undefined))
    const { ready, checks } = await round
    return { ready, body: { ready, state: service.state, checks: shown(checks) } }
  }
  return { ...paths, report }
}

function staysReady({ state, staysReady }: Probed, { keepReady }: ProbePaths): boolean {
  return (keepReady || staysReady) && (state === 'stopping' || state === 'draining')
}

/** Without the errors: they may carry secrets, and anyone may read the probes. */
function shown(checks: HealthReport['checks']): object {
  return Object.fromEntries(
    Object.entries(checks).map(([name, { ok, critical, took }]) => [
      name,
      { ok, critical, took: Math.round(took) },
    ]),
  )
}

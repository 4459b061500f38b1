import { milliseconds, type Duration } from '../base/deadline.ts'
import { StewardError } from '../base/errors.ts'
import type { RecyclingLimits } from '../supervisor/recycling.ts'

/** The options of `steward serve` that say how workers are watched, as they were given. */
export interface WatchCommand {
  bootTimeout?: Duration
  hangTimeout?: Duration
  maxRequests?: number
  maxRequestsJitter?: number
  maxAge?: Duration
  maxRss?: number
  watchdog: boolean
}

/** How workers are watched. Times are in milliseconds. */
export interface Watch {
  /** For each step of a start. */
  readonly boot: number
  /** Without a word of a worker that is ready; 0: for ever. */
  readonly hang: number
  readonly recycling: RecyclingLimits
  /** Have they a second thread, which can tell where the first one is? */
  readonly watchdog: boolean
}

/** The shortest limit that a busy machine does not reach by itself, in milliseconds. */
const SHORTEST_HANG = 1_000

/** The shortest limit in which a process can load anything, in milliseconds. */
const SHORTEST_BOOT = 1_000

/** How seldom a worker tells how it does, in milliseconds: what `steward status` shows is as old at most. */
const SELDOM = 2_000

/** What the options say of it, or their defaults. @throws `ERR_BAD_OPTION` */
export function watchOf(command: WatchCommand): Watch {
  const { bootTimeout = '60s', hangTimeout = '30s', watchdog } = command
  const hang = milliseconds(hangTimeout)
  const boot = milliseconds(bootTimeout)
  if (boot < SHORTEST_BOOT) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot start a worker within ${bootTimeout} (--boot-timeout): give at least 1s`,
    )
  }
  if (hang > 0 && hang < SHORTEST_HANG) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot take a worker for hung after ${hangTimeout} (--hang-timeout): a busy one would be, too; give at least 1s, or off`,
    )
  }
  return { boot, hang, recycling: recyclingOf(command), watchdog }
}

const NAMES = {
  bootTimeout: '--boot-timeout', hangTimeout: '--hang-timeout', maxRequests: '--max-requests',
  maxRequestsJitter: '--max-requests-jitter', maxAge: '--max-age', maxRss: '--max-rss',
} as const // oxfmt-ignore

/** Where there is but one process, none of these has an effect. @throws `ERR_BAD_OPTION` when one was given */
export function refuseWatch(command: WatchCommand, found: string): void {
  for (const [field, name] of Object.entries(NAMES)) {
    if (command[field as keyof typeof NAMES] === undefined) continue
    throw new StewardError(
      'ERR_BAD_OPTION',
      `Cannot use ${name} ${found}: nobody is there who would replace the only process; leave it out`,
    )
  }
}

function recyclingOf(command: WatchCommand): RecyclingLimits {
  const { maxRequests = 0, maxRequestsJitter = 0, maxAge = '0s', maxRss = 0 } = command
  if (maxRequestsJitter > 0 && maxRequests === 0) {
    throw new StewardError(
      'ERR_BAD_OPTION',
      'Cannot use --max-requests-jitter alone: give --max-requests as well',
    )
  }
  return {
    requests: maxRequests,
    jitter: maxRequestsJitter,
    age: milliseconds(maxAge),
    rss: maxRss,
  }
}

/** How often a worker tells how it does, in milliseconds: four times within the limit. */
export function beatFor(hang: number): number {
  return hang > 0 ? Math.min(SELDOM, hang / 4) : SELDOM
}

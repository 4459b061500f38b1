import type { ServeOptions } from '../service/options.ts'
import { settingsOf } from '../service/options.ts'
import type { ServiceDefinition } from '../service/service.ts'

/** How long a stop may take at most while the code is being developed, in milliseconds. */
export const RELOAD_GRACE = 2_000

/**
 * The options of a service that is reloaded whenever its code changes: nobody balances, and whoever develops does not wait.
 *
 * @throws `ERR_BAD_OPTION` for what would be wrong without it, too
 */
export function inDevelopment<Options extends ServeOptions>(
  options: Options,
  definition: ServiceDefinition,
): Omit<Options, 'drainQuiet'> {
  const { gracefulTimeout } = settingsOf(definition, options)
  const { drainQuiet: _, ...others } = options
  return {
    ...others,
    gracefulTimeout: `${Math.min(gracefulTimeout, RELOAD_GRACE)}ms`,
    drainDelay: '0s',
  }
}

import { Graph } from '../scope/graph.ts'
import { StewardError } from '../base/errors.ts'
import { wantedBy } from './injected.ts'
import type { ServiceDefinition } from './service.ts'

/** The names of those resources of a service that only one process may hold. Of an app that is a resource, what its routes inject is not seen. */
export function exclusiveOf(definition: ServiceDefinition): string[] {
  const graph = new Graph()
  for (const wanted of wantedBy(definition)) graph.plan(wanted)
  return graph.steps.filter((step) => step.definition.options.exclusive).map(({ name }) => name)
}

/** @throws `ERR_EXCLUSIVE` when there are to be several workers, and something that only one of them may hold */
export function checkExclusive(names: readonly string[], workers: number): void {
  const [name] = names
  if (name === undefined || workers === 1) return
  const message = `Cannot run ${workers} workers: "${name}" is exclusive, only one process may hold it; give --workers 1`
  throw new StewardError('ERR_EXCLUSIVE', message)
}

import { realWorld } from '../base/world.ts'
import { Graph } from '../scope/graph.ts'
import { picture, type PictureFormat } from '../scope/picture.ts'
import { definitionOf, type Resources } from '../scope/resource.ts'
import { leave } from '../service/leaving.ts'
import { injectedBy } from '../service/injected.ts'
import type { ServiceDefinition } from '../service/service.ts'
import { exitCodeOf, printFatal, survivePipes } from './fatal.ts'
import { load, type LoadOptions } from './load.ts'

/** `steward graph`: draws what a module's service stands on. Opens nothing; what an app that is a resource injects is not seen. */
export async function graph(
  module: string,
  options: LoadOptions & { format: PictureFormat },
): Promise<void> {
  survivePipes()
  try {
    const { definition } = await load(module, options)
    process.stdout.write(picture(graphOf(definition), options.format))
    end(0)
  } catch (error) {
    printFatal(error)
    end(exitCodeOf(error))
  }
}

/** The module may have begun something that would keep the process alive. */
function end(code: number): void {
  leave(code, { emit: () => {}, world: realWorld })
}

function graphOf({ app, resources, everyRequest = {} }: ServiceDefinition): Graph {
  const graph = new Graph()
  const asResource = definitionOf(app) ? ({ app } as Resources) : {}
  for (const wanted of [resources, everyRequest, asResource, ...injectedBy(app)]) graph.plan(wanted)
  return graph
}

import { Graph } from '../scope/graph.ts'
import { picture, type PictureFormat } from '../scope/picture.ts'
import { definitionOf, type Resources } from '../scope/resource.ts'
import { injectedBy } from '../service/injected.ts'
import type { ServiceDefinition } from '../service/service.ts'
import { exitCodeOf, printFatal } from './fatal.ts'
import { load, type LoadOptions } from './load.ts'

/** `steward graph`: draws what a module's service stands on. Opens nothing; what an app that is a resource injects is not seen. */
export async function graph(module: string, options: LoadOptions & { format: PictureFormat }): Promise<void> {
  try {
    const { definition } = await load(module, options)
    process.stdout.write(picture(graphOf(definition), options.format))
  } catch (error) {
    printFatal(error, process.stderr.isTTY ? 'pretty' : 'plain')
    process.exitCode = exitCodeOf(error)
  }
}

function graphOf({ app, resources, everyRequest = {} }: ServiceDefinition): Graph {
  const graph = new Graph()
  const asResource = definitionOf(app) ? ({ app } as Resources) : {}
  for (const wanted of [resources, everyRequest, asResource, ...injectedBy(app)]) graph.plan(wanted)
  return graph
}

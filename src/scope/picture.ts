import type { Graph, Step } from './graph.ts'

/** The languages that a graph can be drawn in: `mermaid` for Markdown pages, `dot` for Graphviz. */
export type PictureFormat = 'mermaid' | 'dot'

/** Draws a graph with its scopes as boxes; an arrow goes from a resource to what it stands on. */
export function picture(graph: Graph, format: PictureFormat): string {
  return format === 'dot' ? dot(graph) : mermaid(graph)
}

function mermaid(graph: Graph): string {
  const lines = ['flowchart LR']
  for (const [scope, steps] of byScope(graph)) {
    lines.push(`  subgraph ${scope}`)
    for (const step of steps) {
      lines.push(`    ${idOf(step)}["${labelOf(step).replaceAll('"', '&quot;')}"]`)
    }
    lines.push('  end')
  }
  for (const [from, to] of arrows(graph)) lines.push(`  ${idOf(from)} --> ${idOf(to)}`)
  return `${lines.join('\n')}\n`
}

function dot(graph: Graph): string {
  const lines = ['digraph resources {', '  rankdir=LR', '  node [shape=box, style=rounded]']
  for (const [scope, steps] of byScope(graph)) {
    lines.push(`  subgraph "cluster_${scope}" {`, `    label=${JSON.stringify(scope)}`)
    for (const step of steps) {
      lines.push(`    ${idOf(step)} [label=${JSON.stringify(labelOf(step))}]`)
    }
    lines.push('  }')
  }
  for (const [from, to] of arrows(graph)) lines.push(`  ${idOf(from)} -> ${idOf(to)}`)
  return `${[...lines, '}'].join('\n')}\n`
}

/** Steps by scope, the longest life first. */
function byScope(graph: Graph): [string, Step[]][] {
  const scopes = Map.groupBy(graph.steps, (step) => step.kind)
  return [...scopes]
    .sort(([one], [other]) => one.depth - other.depth)
    .map(([kind, steps]) => [kind.name, steps])
}

function* arrows(graph: Graph): Generator<[Step, Step]> {
  for (const step of graph.steps) for (const dep of step.deps) yield [step, dep.step]
}

function labelOf(step: Step): string {
  const { exclusive, lazy } = step.definition.options
  const marks = [step.replaced, lazy && 'lazy', exclusive && 'exclusive'].filter(Boolean)
  return marks.length > 0 ? `${step.name} (${marks.join(', ')})` : step.name
}

/** Two resources may go by one name; their place tells them apart. */
function idOf(step: Step): string {
  return `${step.kind.name}_${step.slot}`.replaceAll(/\W/g, '_')
}

/** A process that serves until it is signalled: `node drain/child.ts RIVAL PLACE`. */
const [, , name, place = '{}'] = process.argv

const { listen } = (await import(`./rivals/${name}.ts`)) as {
  listen(place: object): Promise<number>
}
process.stdout.write(`port ${await listen(JSON.parse(place) as object)}\n`)

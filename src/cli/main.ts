#!/usr/bin/env node
// Node changes how it keeps async context when that is first asked for, and what ran often before stays slower for good: by 3 % of a small
// request in a worker, whose channel is busy early. So it is asked for at once: the import reads `AsyncLocalStorage`
import 'node:async_hooks'
// Nothing that an old Node cannot read may be imported before this check, or written in this file
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 19)) {
  console.error(
    `steward: Cannot run on Node ${process.versions.node}: it needs 24.19 or later; install one, or add it to the project: npm i -D node@24`,
  )
  process.exit(2)
}
const { main } = await import('./program.ts')
// Not awaited: a module that never finishes loading would be Node's error then, and is ours
void main(process.argv)

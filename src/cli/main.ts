#!/usr/bin/env node
// Node changes how it keeps async context when that is first asked for, and what ran often before stays slower for good. So it is asked for
// at once: the import reads `AsyncLocalStorage`
import 'node:async_hooks'

// Nor does V8 forget what it has seen of ticks before it compiles them: in a worker, whose channel is busy early, that made every request a
// fifth slower, in most launches. Compiled before anything else runs they stay fast; this takes some milliseconds
await new Promise<void>((resolve) => {
  let left = 3_000
  const tick = (): void => (left-- > 0 ? process.nextTick(tick, left) : resolve())
  tick()
})

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

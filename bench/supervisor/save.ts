/** How long it takes from saving a file until the new code answers, and who is refused meanwhile. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { askUntil, pause, type Waited } from './asking.ts'
import { MAIN } from './rivals.ts'
import { freePort, Running } from './running.ts'

/** How a program is started anew when its code has changed. */
export interface Watcher {
  readonly name: string
  readonly id: string
  /** The command, for a port; the program has it as PORT. */
  readonly command: (port: number) => readonly string[]
}

const APP = `import { word } from './word.ts'
export default (request, response) => response.end(word)
`

/** Stops as Node's documentation has it. */
const PROGRAM = `import { createServer } from 'node:http'
import app from './app.ts'
const server = createServer(app).listen(Number(process.env.PORT), '127.0.0.1')
process.once('SIGTERM', () => server.close(() => process.exit(0)))
`

const bin = (path: string): string =>
  fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url))
const NODE = process.execPath

export const WATCHERS: readonly Watcher[] = [
  {
    name: 'steward --reload',
    id: 'steward',
    command: (port) => [NODE, MAIN, 'serve', 'app.ts', '--reload', '--port', String(port), '--no-control'], // oxfmt-ignore
  },
  { name: 'node --watch', id: 'watch', command: () => [NODE, '--watch', 'main.ts'] },
  { name: 'tsx watch', id: 'tsx', command: () => [NODE, bin('tsx/dist/cli.mjs'), 'watch', 'main.ts'] }, // oxfmt-ignore
  {
    name: 'nodemon',
    id: 'nodemon',
    command: () => [NODE, bin('nodemon/bin/nodemon.js'), '--signal', 'SIGTERM', '--exec', NODE, 'main.ts'], // oxfmt-ignore
  },
]

/** Saves so many times, and asks until the new code has answered. */
export async function saved(watcher: Watcher, times: number): Promise<Waited[]> {
  using stack = new DisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'saved-'))
  stack.defer(() => rmSync(folder, { recursive: true, force: true }))
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
  const say = (word: string): void => write('word.ts', `export const word: string = '${word}'\n`)
  write('package.json', '{ "type": "module" }')
  write('app.ts', APP)
  write('main.ts', PROGRAM)
  say('code 0')
  const port = await freePort()
  await using _ = new Running(watcher.command(port), { cwd: folder, env: { PORT: String(port) } })
  await askUntil(port, ({ body }) => body === 'code 0')
  const all: Waited[] = []
  for (let time = 1; time <= times; time++) {
    await pause(1_500)
    say(`code ${time}`)
    all.push(await askUntil(port, ({ body }) => body === `code ${time}`))
  }
  return all
}

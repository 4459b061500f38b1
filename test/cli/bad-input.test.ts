import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { issue } from '../helpers/certificates.ts'
import { MAIN, modules, Program, type Exit } from '../helpers/program.ts'

interface Case {
  /** What is wrong. */
  name: string
  files?: Record<string, string>
  args: string[]
  env?: Record<string, string>
  code: 1 | 2
  /** The sentence, up to its end; the error's code follows it. */
  says: RegExp | string
}

const [ours, other] = [issue(), issue()]
const tls = ['--tls-cert', 'cert.pem', '--tls-key', 'key.pem']
const OK = `export default { fetch: () => new Response('ok') }`
const ok = { 'app.ts': OK }
const app = (text: string): Record<string, string> => ({ 'app.ts': text })
const commonJs = (text: string): Record<string, string> => ({
  'package.json': '{}',
  'app.js': text,
})
/** A service that would say so if anything of it were opened. */
const NEVER = app(
  `import { perApp, service } from 'steward'; const db = perApp(() => { throw new Error('it was opened') }); export default service({ resources: { db } })`,
)
const use = `; give a service(…), an app of Hono, Fastify, Express, Koa or NestJS, an object with fetch, or a (req, res) listener`
const exporting = (found: string): string =>
  `Cannot serve "app.ts": its default export is ${found}, which is no app`

const CASES: Case[] = [
  // The module
  { name: 'a module that does not exist', args: ['nope.ts'], code: 2, says: /^Cannot serve "nope\.ts": there is no such file in \/.+; give the path of the module that exports your service or app$/ },
  { name: 'a module with another ending', files: ok, args: ['app.js'], code: 2, says: /^Cannot serve "app\.js": there is no such file in .+, but there is app\.ts$/ },
  { name: 'a module as other servers want it', files: ok, args: ['app.ts:app'], code: 2, says: /^Cannot serve "app\.ts:app": there is no such file in .+; give the file alone, its default export is served$/ },
  { name: 'a folder', files: { 'shop/index.ts': OK }, args: ['shop'], code: 2, says: 'Cannot serve "shop": it is a folder, but there is shop/index.ts' },
  { name: 'no default export', files: app(`export const app = {}; export const port = 1`), args: ['app.ts'], code: 2, says: 'Cannot serve "app.ts": it has no default export, it exports app, port; write: export default app' },
  { name: 'one named export', files: app(`export const shop = {}`), args: ['app.ts'], code: 2, says: 'Cannot serve "app.ts": it has no default export, it exports shop; write: export default shop' },
  { name: 'no export', files: app(`void 0`), args: ['app.ts'], code: 2, says: 'Cannot serve "app.ts": it has no default export, it exports nothing; write: export default app' },
  { name: 'an export that CommonJS has by name', files: commonJs(`exports.shop = { fetch() {} }`), args: ['app.js'], code: 2, says: 'Cannot serve "app.js": it has no default export, it exports shop; write: module.exports = shop' },
  { name: 'no export in CommonJS', files: commonJs(`void 0`), args: ['app.js'], code: 2, says: 'Cannot serve "app.js": it has no default export, it exports nothing; write: module.exports = app' },
  { name: 'an app of CommonJS that listens', files: commonJs(`module.exports = require('node:http').createServer().listen(0)`), args: ['app.js'], code: 2, says: 'Cannot serve "app.js": it calls listen() itself while it is loaded; take the call away and export the app: export default app' },
  { name: 'a decorator', files: app(`@Shop() class Hello {}\n${OK}`), args: ['app.ts'], code: 1, says: 'Cannot load "app.ts": Invalid or unexpected token; if that is a decorator: Node strips types only, compile it first, as npx nest build does' },
  { name: 'a string', files: app(`export default 'hello'`), args: ['app.ts'], code: 2, says: exporting('"hello" (string)') + use },
  { name: 'a number', files: app(`export default 42`), args: ['app.ts'], code: 2, says: exporting('42 (number)') + use },
  { name: 'null', files: app(`export default null`), args: ['app.ts'], code: 2, says: exporting('null') + use },
  { name: 'an instance of a class', files: app(`class Shop {}; export default new Shop()`), args: ['app.ts'], code: 2, says: exporting('an instance of Shop') + use },
  { name: 'a class', files: app(`export default class Shop {}`), args: ['app.ts'], code: 2, says: `${exporting('function Shop')}; it is a class, give an instance of it` },
  { name: 'a promise', files: app(`export default Promise.resolve({ fetch() {} })`), args: ['app.ts'], code: 2, says: `${exporting('an instance of Promise')}; it is a promise, await it first, or make the app by a resource, service({ app: perApp(() => createApp()) })` },
  { name: 'a resource', files: app(`import { perApp } from 'steward'; export default perApp(() => 1)`), args: ['app.ts'], code: 2, says: /^Cannot serve "app\.ts": its default export is .+, which is no app; it is a resource, give service\(\{ app \}\) with it as the app$/ },
  { name: 'a server', files: app(`import http from 'node:http'; export default http.createServer()`), args: ['app.ts'], code: 2, says: `${exporting('an instance of Server')}; it is a server that listens already, has no listener, or is not one of node:http, give the (req, res) listener that it was made with` },
  { name: 'a throw at import', files: app(`throw new Error('no configuration')`), args: ['app.ts'], code: 1, says: 'Cannot load "app.ts": no configuration' },
  { name: 'something thrown that is no error', files: app(`throw 'up'`), args: ['app.ts'], code: 1, says: 'Cannot load "app.ts": up' },
  { name: 'a type error at run time', files: app(`const config: any = undefined\nexport default config.app`), args: ['app.ts'], code: 1, says: `Cannot load "app.ts": Cannot read properties of undefined (reading 'app')` },
  { name: 'an enum', files: app(`enum Colour { red }\n${OK}`), args: ['app.ts'], code: 1, says: /^Cannot load "app\.ts": .*enum.*; Node strips types only, for the rest add --import tsx$/i },
  { name: 'a syntax error', files: app(`export default {{`), args: ['app.ts'], code: 1, says: /^Cannot load "app\.ts": .+$/ },
  { name: 'a syntax error in JavaScript', files: { 'app.js': `export default {{` }, args: ['app.js'], code: 1, says: /^Cannot load "app\.js": Unexpected token '\{'$/ },
  { name: 'an import that is missing', files: app(`import './nope'\n${OK}`), args: ['app.ts'], code: 2, says: /^Cannot load "app\.ts": Cannot find module '.+nope' imported from .+app\.ts; install it, or write its path with its extension$/ },
  { name: 'a module that awaits for ever', files: app(`await new Promise(() => {})`), args: ['app.ts'], code: 1, says: 'Cannot load "app.ts": it awaits something that never comes; see what it awaits at its top level, or do that in a resource, which has an openTimeout' },
  // Listening by itself
  ...listening('no export', ``),
  ...listening('a default export', `export default app`),
  { name: 'listen() in an async function that nobody awaits', files: app(`import http from 'node:http'\nasync function main() { http.createServer().listen(0) }\nvoid main()`), args: ['app.ts'], code: 2, says: /^Cannot serve "app\.ts": it calls listen\(\) itself while it is loaded; take the call away and export the app: export default app$/ },
  // The service
  { name: 'an option that does not exist', files: app(`import { service } from 'steward'; export default service({ unknown: 1 } as never)`), args: ['app.ts'], code: 2, says: /^Cannot make a service with the option "unknown": there is no such option, known are app, resources, prepare, onStartup, .+$/ },
  { name: 'a duration without a unit', files: app(`import { service } from 'steward'; export default service({ gracefulTimeout: 25 as never })`), args: ['app.ts'], code: 2, says: `Cannot use 25 (number) as "gracefulTimeout": it is not a duration, write '250ms', '5s', '2m' or '1h'` },
  { name: 'a hook that is no function', files: app(`import { service } from 'steward'; export default service({ onStartup: 'migrate' as never })`), args: ['app.ts'], code: 2, says: 'Cannot use "migrate" (string) as "onStartup": pass a function, or several in an array' },
  { name: 'a lifespan that is no function', files: app(`import { service } from 'steward'; export default service({ lifespan: true as never })`), args: ['app.ts'], code: 2, says: 'Cannot use true (boolean) as "lifespan": write async *lifespan() { …; yield; … }' },
  { name: 'a hook that throws', files: app(`import { service } from 'steward'; export default service({ onStartup() { throw new Error('no migration') } })`), args: ['app.ts'], code: 1, says: 'Cannot finish onStartup: no migration' },
  { name: 'a resource that fails to open', files: app(`import { perApp, service } from 'steward'; const pool = perApp(() => { throw new Error('connect postgres://shop:hunter2@db/shop failed') }); export default service({ resources: { users: perApp({ pool }, () => 1) } })`), args: ['app.ts'], code: 1, says: 'Cannot open "pool" (users → pool): connect postgres://shop:***@db/shop failed' },
  { name: 'a resource that never yields', files: app(`import { perApp, service } from 'steward'; const db = perApp(async function* () {} as never); export default service({ resources: { db } })`), args: ['app.ts'], code: 1, says: 'Cannot open "db": its generator ended without a yield, yield the value once' },
  { name: 'resources that are undefined by a circular import', files: { 'app.ts': `import { service } from 'steward'; import './users.ts'; import { db } from './db.ts'; export default service({ resources: { db } })`, 'users.ts': `import { perApp } from 'steward'; import './db.ts'; export var users = perApp(() => 1)`, 'db.ts': `import { perApp } from 'steward'; import { users } from './users.ts'; export const db = perApp({ users }, () => 1)` }, args: ['app.ts'], code: 2, says: 'Cannot open "users": it is undefined where db → users names it, most likely because two modules import each other; move what both need into a third module' },
  { name: 'a resource that is used before its module has run', files: { 'app.ts': `import { service } from 'steward'; import { users } from './users.ts'; export default service({ resources: { users } })`, 'users.ts': `import { perApp } from 'steward'; import './db.ts'; export const users = perApp(() => 1)`, 'db.ts': `import { perApp } from 'steward'; import { users } from './users.ts'; export const db = perApp({ users }, () => 1)` }, args: ['app.ts'], code: 1, says: `Cannot load "app.ts": Cannot access 'users' before initialization; most likely two modules import each other: move what both need into a third` },
  // Options
  { name: 'an unknown option', files: ok, args: ['app.ts', '--prot', '1'], code: 2, says: /unknown option '--prot'\n\(Did you mean --port\?\)/ },
  { name: 'no module', args: [], code: 2, says: /missing required argument 'module'/ },
  { name: 'two modules', files: ok, args: ['app.ts', 'b.ts'], code: 2, says: /too many arguments/ },
  { name: 'a port that is no number', files: ok, args: ['app.ts', '--port', 'http'], code: 2, says: /argument 'http' is invalid\. It is no port: give a number from 0 to 65535/ },
  { name: 'a port out of range', files: ok, args: ['app.ts', '--port', '65536'], code: 2, says: /argument '65536' is invalid\. It is no port/ },
  { name: 'a PORT that is no number', files: ok, args: ['app.ts'], env: { PORT: 'http' }, code: 2, says: `Cannot listen on the environment's PORT="http": it is no port, set a number from 0 to 65535, or none` },
  { name: 'a PORT out of range', files: ok, args: ['app.ts'], env: { PORT: '70000' }, code: 2, says: /^Cannot listen on the environment's PORT="70000": it is no port/ },
  { name: 'a time that is none', files: ok, args: ['app.ts', '--graceful-timeout', 'soon'], code: 2, says: /argument 'soon' is invalid\. It is no time: give seconds, or 250ms, 5s, 2m, 1h/ },
  { name: 'a log form that does not exist', files: ok, args: ['app.ts', '--log', 'xml'], code: 2, says: /argument 'xml' is invalid\. Allowed choices are pretty, json/ },
  ...['host:', 'nowhere', '127.0.0.1:70000', 'fd://x', ':http', 'unix:'].map((bind) => ({
    name: `--bind ${bind}`, files: ok, args: ['app.ts', '--bind', bind], code: 2 as const, says: `Cannot listen on "${bind}": give host:port, unix:path or fd://number`,
  })),
  { name: 'a host that is not of this machine', files: ok, args: ['app.ts', '--host', '192.0.2.1', '--port', '0'], code: 1, says: 'Cannot listen on 192.0.2.1:0: this machine has no such address (EADDRNOTAVAIL); choose one of its own with --host' },
  { name: 'a Unix socket over a file', files: ok, args: ['app.ts', '--unix', 'app.ts'], code: 1, says: 'Cannot listen on unix:app.ts: something else than a socket is there; remove it or choose another path' },
  { name: 'a Unix socket in no folder', files: ok, args: ['app.ts', '--unix', 'nope/x.sock'], code: 1, says: /^Cannot listen on unix:nope\/x\.sock: its folder does not exist/ },
  { name: 'a descriptor that is no socket', files: ok, args: ['app.ts', '--fd', '0'], code: 1, says: 'Cannot listen on file descriptor 0: it is not a socket; pass a listening socket, as systemd does, to node itself: npm, npx and tsx do not hand it on' },
  { name: 'a descriptor that is not open', files: ok, args: ['app.ts', '--fd', '77'], code: 1, says: /^Cannot listen on file descriptor 77: it is not open/ },
  { name: 'a descriptor that is no number', files: ok, args: ['app.ts', '--fd', 'x'], code: 2, says: /argument 'x' is invalid\. It is no file descriptor/ },
  // Reloading
  { name: 'what to watch without --reload', files: ok, args: ['app.ts', '--reload-include', '*.html'], code: 2, says: 'Cannot use --reload-include without --reload: nothing is watched; give --reload as well' },
  { name: 'a folder to watch that is none', files: ok, args: ['app.ts', '--reload', '--reload-dir', 'app.ts'], code: 2, says: 'Cannot watch --reload-dir "app.ts": there is no such folder; give one that exists' },
  { name: 'reloading without a supervisor', files: ok, args: ['app.ts', '--reload', '--no-supervisor'], code: 2, says: 'Cannot reload with --no-supervisor: another process starts the new code; leave out --reload' },
  { name: 'a module to reload that is not there', files: ok, args: ['ap.ts', '--reload', '--port', '0'], code: 2, says: /^Cannot serve "ap\.ts": there is no such file in / },
  { name: 'a certificate to reload with that is missing', files: NEVER, args: ['app.ts', '--reload', '--port', '0', ...tls], code: 2, says: /^Cannot serve TLS with ".+cert\.pem" as the certificate: there is no such file/ },
  // TLS: the app is never opened
  { name: 'a certificate that is missing', files: NEVER, args: ['app.ts', ...tls], code: 2, says: /^Cannot serve TLS with "\/.+\/cert\.pem" as the certificate: there is no such file; give the path of a file in PEM$/ },
  { name: 'a key that is a folder', files: { ...NEVER, 'cert.pem': ours.cert, 'key.pem/x': '' }, args: ['app.ts', ...tls], code: 2, says: /^Cannot serve TLS with "\/.+\/key\.pem" as the key: it is a folder; give the path of the file in it$/ },
  { name: 'a certificate with the key of another', files: { ...NEVER, 'cert.pem': ours.cert, 'key.pem': other.key }, args: ['app.ts', ...tls], code: 2, says: /^Cannot serve TLS with the certificate "\/.+\/cert\.pem" and the key "\/.+\/key\.pem": they do not belong together; give the key that the certificate was issued for$/ },
  { name: 'client authorities that are none', files: { ...NEVER, 'cert.pem': ours.cert, 'key.pem': ours.key }, args: ['app.ts', ...tls, '--tls-ca', 'app.ts'], code: 2, says: /^Cannot serve TLS with "\/.+\/app\.ts" as the client authorities: it is not PEM; give a certificate in PEM/ },
  { name: 'a certificate without a key', files: ok, args: ['app.ts', '--tls-cert', 'cert.pem'], code: 2, says: 'Cannot serve TLS with --tls-cert alone: give --tls-key as well' },
  { name: 'a key without a certificate', files: ok, args: ['app.ts', '--tls-key', 'key.pem', '--tls-ca', 'ca.pem'], code: 2, says: 'Cannot serve TLS with --tls-key and --tls-ca alone: give --tls-cert as well' },
  { name: 'client authorities alone', files: ok, args: ['app.ts', '--tls-ca', 'ca.pem'], code: 2, says: 'Cannot serve TLS with --tls-ca alone: give --tls-cert and --tls-key as well' },
  { name: 'a certificate from a variable that is empty', files: ok, args: ['app.ts', '--tls-cert', '', '--tls-key', ''], code: 2, says: 'Cannot use "" (string) as "tls.cert": give the path of a PEM file' },
  { name: 'a first module that is missing', files: ok, args: ['app.ts', '--import', 'no-such-loader'], code: 2, says: /^Cannot load "no-such-loader" first: Cannot find package 'no-such-loader' imported from .+; install it in the project$/ },
  { name: 'a first module that throws', files: { ...ok, 'first.ts': `throw new Error('no')` }, args: ['app.ts', '--import', './first.ts'], code: 1, says: 'Cannot load "./first.ts" first: no' },
  { name: 'a pid file that is a folder', files: { ...ok, 'pid/x': '' }, args: ['app.ts', '--port', '0', '--pid', 'pid'], code: 2, says: /^Cannot write the pid file "pid": EISDIR.*; name a file that can be written$/ },
  { name: 'a probe without a slash', files: ok, args: ['app.ts', '--port', '0', '--health-live', 'up'], code: 2, says: `Cannot use "up" (string) as the path of a probe: it does not begin with a slash, write '/livez'` },
] // oxfmt-ignore

function listening(name: string, more: string): Case[] {
  const text = `import http from 'node:http'\nconst app = http.createServer()\napp.listen(0)\n${more}`
  const says =
    /^Cannot serve "app\.ts": it calls listen\(\) itself while it is loaded; take the call away and export the app: export default app$/
  return [
    {
      name: `listen() in a module with ${name}`,
      files: app(text),
      args: ['app.ts'],
      code: 2,
      says,
    },
  ]
}

/** One sentence on stderr, the exit code, and nothing on stdout but what was undone. */
async function check({ files = {}, args, env, code, says }: Case): Promise<void> {
  using folder = modules(files)
  using program = new Program([MAIN, 'serve', ...args], { cwd: folder.path, ...(env && { env }) })
  const exit: Exit = await program.exit()
  const sentence = sentenceOf(program.stderr)
  if (typeof says === 'string') assert.equal(sentence, says)
  else assert.match(sentence, says)
  assert.deepEqual(exit, { code, signal: null }, program.stderr)
  assert.deepEqual(program.names('service.listening', 'service.ready'), [])
}

/** What was said, without the frame of JSON or the error's code; a password is never in it. */
function sentenceOf(stderr: string): string {
  assert.doesNotMatch(stderr, /hunter2/)
  if (!stderr.startsWith('{')) return stderr.replace(/^error: /, '').trimEnd()
  const [line, ...more] = stderr.trimEnd().split('\n')
  assert.deepEqual(more, [], 'one line')
  const { message } = JSON.parse(line!) as { message: string }
  assert.match(message, /^Cannot /)
  assert.doesNotMatch(message, /\.$|n't\b/)
  return message
}

describe('bad input', { concurrency: 2 }, () => {
  for (const one of CASES) it(`X1 says what to do about ${one.name}`, () => check(one))

  it('X1 leaves a missing --env-file to Node, which reads it wherever it stands', async () => {
    using folder = modules(ok)
    const args = ['serve', 'app.ts', '--env-file', '.env']
    using program = new Program([MAIN, ...args], { cwd: folder.path })
    assert.deepEqual(await program.exit(), { code: 9, signal: null })
    assert.match(program.stderr, /\.env: not found/)
    using ours = new Program(['--', MAIN, ...args], { cwd: folder.path })
    assert.deepEqual(await ours.exit(), { code: 2, signal: null })
    assert.match(
      sentenceOf(ours.stderr),
      /^Cannot load the environment from "\.env": .*no such file/i,
    )
  })

  it('X1 names a busy port', async () => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as net.AddressInfo
    const says = `Cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE); stop the other process or choose another with --port`
    await check({ name: '', files: ok, args: ['app.ts', '--port', String(port)], code: 1, says })
    server.close()
  })

  it('X1 leaves a pid file to the process that runs', async () => {
    using folder = modules(ok)
    const pid = join(folder.path, 'app.pid')
    const serving = [MAIN, 'serve', 'app.ts', '--port', '0', '--pid', 'app.pid']
    using first = new Program(serving, { cwd: folder.path })
    await first.event('service.ready')
    assert.equal(readFileSync(pid, 'utf8'), `${first.child.pid}\n`)
    using second = new Program(serving, { cwd: folder.path })
    assert.deepEqual(await second.exit(), { code: 2, signal: null })
    assert.equal(
      sentenceOf(second.stderr),
      `Cannot write the pid file "app.pid": process ${first.child.pid} runs and has it; stop it, or name another file`,
    )
    first.signal('SIGTERM')
    assert.deepEqual(await first.exit(), { code: 0, signal: null })
    assert.equal(existsSync(pid), false)
  })

  it('X1 takes over the pid file of a process that has died', async () => {
    using folder = modules(ok)
    writeFileSync(join(folder.path, 'app.pid'), '999999999\n')
    using program = new Program([MAIN, 'serve', 'app.ts', '--port', '0', '--pid', 'app.pid'], {
      cwd: folder.path,
    })
    await program.event('service.ready')
    assert.equal(readFileSync(join(folder.path, 'app.pid'), 'utf8'), `${program.child.pid}\n`)
  })

  it('X1 bounds a hook that never ends at the stop, and names it', async () => {
    using folder = modules(
      app(
        `import { service } from 'steward'; export default service({ onShutdown: () => new Promise(() => {}), gracefulTimeout: '500ms' })`,
      ),
    )
    using program = new Program([MAIN, 'serve', 'app.ts', '--port', '0'], { cwd: folder.path })
    await program.event('service.ready')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: 1, signal: null })
    const { error } = (await program.event('hook.ended')) as { error?: { message: string } }
    assert.match(
      error!.message,
      /^Cannot wait for onShutdown: it had not ended after \d+ ms, its share of the budget/,
    )
  })

  it('X1 names a resource that yields twice', async () => {
    using folder = modules(
      app(
        `import { perApp, service } from 'steward'; const db = perApp(function* () { yield 1; yield 2 }); export default service({ resources: { db } })`,
      ),
    )
    using program = new Program([MAIN, 'serve', 'app.ts', '--port', '0'], { cwd: folder.path })
    await program.event('service.ready')
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: 1, signal: null })
    const { error } = (await program.event('resource.closed')) as { error?: { message: string } }
    assert.equal(
      error!.message,
      'Cannot close "db": its generator yielded a second time, yield the value once and clean up after it',
    )
  })
})

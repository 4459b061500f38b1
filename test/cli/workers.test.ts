import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAIN, modules, Program } from '../helpers/program.ts'

const OK = `export default { fetch: () => new Response('ok') }`
const port = ['--port', '0']

const CASES = [
  { name: 'no workers', text: OK, args: [...port, '--workers', '0'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
  { name: 'workers that are no number', text: OK, args: [...port, '--workers', 'x'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
  { name: 'too many workers', text: OK, args: [...port, '--workers', '10000'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
  { name: 'a limit for hangs that every busy worker would reach', text: OK, args: [...port, '--workers', '2', '--hang-timeout', '10ms'], code: 2, says: /Cannot take a worker for hung after 10ms \(--hang-timeout\): .*give at least 1s, or off/ },
  { name: 'a limit for hangs that is no time', text: OK, args: [...port, '--workers', '2', '--hang-timeout', 'never'], code: 2, says: /It is no time: give seconds, or 250ms, 5s, 2m, 1h; or off/ },
  { name: 'a limit that no start meets', text: OK, args: [...port, '--workers', '2', '--boot-timeout', '0'], code: 2, says: /Cannot start a worker within 0s \(--boot-timeout\): give at least 1s/ },
  { name: 'chance without a number of requests', text: OK, args: [...port, '--workers', '2', '--max-requests-jitter', '5'], code: 2, says: /Cannot use --max-requests-jitter alone: give --max-requests as well/ },
  { name: 'a number of requests that is none', text: OK, args: [...port, '--workers', '2', '--max-requests', '-1'], code: 2, says: /no such number: give a whole one, or 0 for no limit/ },
  { name: 'retirement with nobody to replace it', text: OK, args: [...port, '--no-supervisor', '--max-requests', '5'], code: 2, says: /Cannot use --max-requests with --no-supervisor: nobody is there who would replace the only process; leave it out/ },
  { name: 'memory that is no size', text: OK, args: [...port, '--workers', '2', '--max-rss', '512 elephants'], code: 2, says: /It is no size: give bytes, or 64kb, 512mb, 2gb/ },
  { name: 'no memory at all', text: OK, args: [...port, '--workers', '2', '--max-rss', '0'], code: 2, says: /It is no size: give bytes, or 64kb, 512mb, 2gb/ },
  { name: 'an age that is no time', text: OK, args: [...port, '--workers', '2', '--max-age', 'old'], code: 2, says: /It is no time: give seconds/ },
  { name: 'an address that is not there', text: OK, args: [...port, '--host', '192.0.2.1', '--workers', '2'], code: 1, says: /^[^\n]*this machine has no such address[^\n]*\n$/ },
  { name: 'a module without an app', text: 'export default 42', args: [...port, '--workers', '3'], code: 2, says: /^[^\n]*its default export is 42 \(number\)[^\n]*\n$/ },
  { name: 'a module that throws', text: `throw new Error('no configuration')`, args: [...port, '--workers', '3'], code: 1, says: /^[^\n]*Cannot load[^\n]*no configuration[^\n]*\n$/ },
  { name: 'a module that awaits for ever', text: 'await new Promise(() => {})', args: [...port, '--workers', '3'], code: 1, says: /^[^\n]*it awaits something that never comes[^\n]*\n$/ },
  { name: 'TLS without its key', text: OK, args: [...port, '--tls-cert', 'cert.pem', '--workers', '2'], code: 2, says: /^[^\n]*Cannot serve TLS[^\n]*\n$/ },
] // oxfmt-ignore

describe('steward serve --workers', { concurrency: 2 }, () => {
  for (const { name, text, args, code, says } of CASES) {
    it(`X1 refuses ${name}, once, with exit code ${code}`, async () => {
      using folder = modules({ 'app.ts': text })
      using program = new Program([MAIN, 'serve', 'app.ts', ...args], { cwd: folder.path })
      assert.deepEqual(await program.exit(), { code, signal: null })
      assert.match(program.stderr, says)
      assert.ok(program.names('worker.starting').length <= 1)
    })
  }
})

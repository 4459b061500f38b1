import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAIN, modules, Program } from '../helpers/program.ts'

const OK = `export default { fetch: () => new Response('ok') }`
const port = ['--port', '0']

const CASES = [
  { name: 'no workers', text: OK, args: [...port, '--workers', '0'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
  { name: 'workers that are no number', text: OK, args: [...port, '--workers', 'x'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
  { name: 'too many workers', text: OK, args: [...port, '--workers', '10000'], code: 2, says: /no number of workers: give 1 to 9999, or auto/ },
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

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAIN, modules, Program } from '../helpers/program.ts'
import { RawClient } from '../helpers/raw-client.ts'
import { Spawned } from '../helpers/spawned.ts'

const MODULE = 'test/programs/framework.ts'

describe('steward serve of an app that somebody has already', () => {
  for (const framework of ['fastify', 'express', 'koa', 'nest']) {
    it(`P1 P2 serves and stops an app of ${framework}`, async () => {
      await using serving = new Spawned(MODULE, { env: { FRAMEWORK: framework } })
      using client = await RawClient.connect(Number(new URL(await serving.url()).port))
      assert.equal((await client.request('GET /').response()).body, 'hello')
      const ended = serving.stop('SIGTERM')
      await serving.line('service.stopping')
      const { status, headers } = await client.request('GET /').response()
      assert.deepEqual([status, headers['connection']], [200, 'close'])
      assert.equal(await ended, 0)
      const hasHook = framework === 'fastify' || framework === 'nest'
      assert.equal(/closed by its hook/.test(serving.errors), hasHook)
    })
  }

  for (const [name, text] of Object.entries({
    'module.exports': 'module.exports = { fetch: () => new Response("hello") }',
    'what a compiler makes of an export default':
      'Object.defineProperty(exports, "__esModule", { value: true }); exports.other = 1; exports.default = { fetch: () => new Response("hello") }',
  })) {
    it(`serves CommonJS: ${name}`, async () => {
      using folder = modules({ 'package.json': '{}', 'app.js': text })
      using program = new Program([MAIN, 'serve', 'app.js', '--port', '0'], { cwd: folder.path })
      assert.equal((await program.get('/')).body, 'hello')
    })
  }
})

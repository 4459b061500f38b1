import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MAIN, Program } from '../helpers/program.ts'
import { Developed, wordIs, type DevelopedOptions } from '../helpers/developed.ts'
import { RawClient, type RawResponse } from '../helpers/raw-client.ts'

const clean = { code: 0, signal: null }

/** The test suites are many processes on few processors: two programs at a time. */
const together = { concurrency: 2 }

const APP = `
import { word } from './word.ts'
export default { fetch: (request) => {
  const { pathname } = new URL(request.url)
  if (pathname === '/exit') process.exit(3)
  if (pathname === '/throw') setImmediate(() => { throw new Error('nobody caught this') })
  return new Response(word)
} }
`

const BROKEN = 'export const word: string = ;\n'

describe('code that does not start', together, () => {
  it('D3 is shown, and the next change recovers: a syntax error', async () => {
    using program = await serving()
    program.write('word.ts', BROKEN)
    await program.event('roll.failed')
    await program.event('stub.ready')
    assert.match(program.stderr, /"code":"ERR_MODULE_THREW".*word\.ts:1.*Expression expected/)
    const { status, headers, body } = await program.get('/anything?at=all')
    assert.deepEqual([status, headers['retry-after']], [503, '1'])
    assert.match(body, /^Cannot load "app\.ts": Expression expected/)
    assert.match(body, /export const word: string = ;\n {30}\^/)
    assert.doesNotMatch(body, /node:internal/)
    program.say('repaired')
    await program.reloaded(1)
    assert.equal(await program.text(), 'repaired')
    await program.event('stub.gone')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('D3 is tried again by steward reload, which says why it fails', async () => {
    using program = await Developed.start({ files: { 'app.ts': APP, 'word.ts': BROKEN } })
    await program.event('stub.ready')
    using again = new Program([MAIN, 'reload', '--wait', '--pid', String(program.child.pid)])
    assert.equal((await again.exit()).code, 1)
    assert.match(again.stderr, /^steward: Cannot reload: worker 0 .*Expression expected/)
  })

  it('D3 may be the first start', async () => {
    using program = await Developed.start({ files: { 'app.ts': APP, 'word.ts': BROKEN } })
    await program.event('stub.ready')
    assert.equal((await program.get('/')).status, 503)
    program.say('repaired')
    await program.event('worker.ready')
    assert.equal(await program.text(), 'repaired')
  })

  it('D3 may lack a module, which is awaited', async () => {
    const files = {
      'app.ts': `import { word } from './later/word.ts'\nexport default { fetch: () => new Response(word) }`,
      'later/other.ts': '',
    }
    using program = await Developed.start({ files })
    await program.event('stub.ready')
    assert.match(await program.text(), /Cannot find module .*later\/word\.ts/)
    program.write('later/word.ts', wordIs('there'))
    await program.event('worker.ready')
    assert.equal(await program.text(), 'there')
  })

  it('D3 may lack its default export, be stuck, or fail in a resource', async () => {
    using program = await serving()
    const failures = [
      ['export const app = 1', /has no default export/],
      ['await new Promise(() => {})', /awaits something that never comes/],
      [`import { perApp, service } from 'steward'\nimport { word } from './word.ts'\nconst db = perApp(() => { throw new Error('no <database>') })\nexport default service({ app: { fetch: () => new Response(word) }, resources: { db } })`, /no <database>/],
      ['throw new Error("at the top")', /at the top/],
    ] as const // oxfmt-ignore
    for (const [index, [text, says]] of failures.entries()) {
      program.write('app.ts', text.replaceAll("'steward'", `'${STEWARD}'`))
      await program.nth('stub.ready', index + 1)
      assert.match(await program.text(), says)
    }
    program.write('app.ts', APP)
    await program.reloaded(1)
    assert.equal(await program.text(), 'one')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('D3 ends with Ctrl-C, with code 0', async () => {
    using program = await Developed.start({ files: { 'app.ts': APP, 'word.ts': BROKEN } })
    await program.event('stub.ready')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })
})

describe('a worker that dies', together, () => {
  for (const [how, says] of [
    ['/exit', /exit code 3 and closed nothing/],
    ['/throw', /exit code 1/],
  ] as const) {
    it(`D4 is said at once, and started with the next change: ${how}`, async () => {
      using program = await serving()
      using client = await program.connect()
      client.request(`GET ${how}`)
      const { cause } = await program.event('worker.gone')
      assert.match(String(cause), says)
      await program.event('stub.ready')
      const { status, body } = await program.get('/')
      assert.equal(status, 503)
      assert.match(body, how === '/throw' ? /^nobody caught this/ : /process\.exit\(\)/)
      program.say('two')
      await program.reloaded(1)
      assert.equal(await program.text(), 'two')
      assert.equal(program.all('worker.starting').length, 2)
    })
  }
})

describe('the page', together, () => {
  it('D3 shows the error to a browser, escaped, and waits for the new code by itself', async () => {
    using program = await serving()
    program.write('app.ts', 'throw new Error("</script><b>&")')
    await program.event('stub.ready')
    const page = await ask(program, 'GET / HTTP/1.1', 'accept: text/html,*/*;q=0.8')
    assert.equal(page.status, 503)
    assert.match(page.headers['content-type']!, /^text\/html/)
    assert.match(page.body, /&lt;\/script&gt;&lt;b&gt;&amp;/)
    assert.equal(page.body.split('</script>').length, 2, 'its own script is the only one')
    const [, nonce] = /script-src 'nonce-([^']+)'/.exec(page.headers['content-security-policy']!)!
    assert.ok(page.body.includes(`nonce="${nonce}"`))
    assert.doesNotMatch(page.body, /\b(?:src|href)=/)
    const id = page.headers['steward-stub']!
    assert.ok(page.body.includes(`"${id}"`))
    using waiting = await waitingPage(program, id)
    await program.get('/')
    assert.equal(waiting.received, '', 'there is nothing else to see yet')
    program.write('app.ts', APP)
    assert.equal((await waiting.response()).headers['steward-stub'], id)
    // Until the stub accepts no more, as the page does
    for (let seen: string | undefined = id; seen === id;) {
      using again = await waitingPage(program, id)
      const { status, headers } = await again.response()
      seen = headers['steward-stub']
      if (seen === undefined) assert.equal(status, 200, 'of the new code')
    }
    assert.equal(await program.text(), 'one')
  })

  it('D3 follows to another error', async () => {
    using program = await serving()
    program.write('app.ts', 'throw new Error("first")')
    await program.event('stub.ready')
    const { headers } = await ask(program, 'GET / HTTP/1.1', 'accept: text/html')
    program.write('app.ts', 'throw new Error("second")')
    await program.nth('stub.ready', 2)
    using waiting = await waitingPage(program, headers['steward-stub']!)
    const other = (await waiting.response()).headers['steward-stub']
    assert.ok(other && other !== headers['steward-stub'])
  })

  it('D3 is JSON for who asks for that, and shows no password', async () => {
    using program = await serving()
    program.write('app.ts', 'throw new Error("cannot reach postgres://me:geheim@db/shop")')
    await program.event('stub.ready')
    const { body, headers } = await ask(program, 'GET / HTTP/1.1', 'accept: application/json')
    assert.match(headers['content-type']!, /^application\/json/)
    const { error, details } = JSON.parse(body) as { error: string; details: string }
    assert.match(error, /cannot reach postgres:\/\/me:\*\*\*@db\/shop/)
    assert.match(details, /app\.ts:1/)
    const page = await ask(program, 'GET / HTTP/1.1', 'accept: text/html')
    assert.doesNotMatch(page.body + body + program.stderr, /geheim/)
  })

  it('V4 is alive, and not ready', async () => {
    using program = await serving()
    program.write('word.ts', BROKEN)
    await program.event('stub.ready')
    assert.equal((await program.get('/livez')).status, 200)
    assert.equal((await program.get('/readyz')).status, 503)
  })
})

const STEWARD = new URL('../../src/index.ts', import.meta.url).href

function serving(options: DevelopedOptions = {}): Promise<Developed> {
  return Developed.serving({ ...options, files: { 'app.ts': APP, ...options.files } })
}

async function ask(program: Developed, line: string, header: string): Promise<RawResponse> {
  using client = await program.connect()
  return await client.send(`${line}\r\nHost: test\r\n${header}\r\n\r\n`).response()
}

/** What the page of a stub asks. */
async function waitingPage(program: Developed, id: string): Promise<RawClient> {
  const client = await RawClient.connect(await program.port())
  return client.send(`GET /livez HTTP/1.1\r\nHost: test\r\nsteward-waits: ${id}\r\n\r\n`)
}

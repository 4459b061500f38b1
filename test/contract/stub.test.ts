import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { issue, writePair } from '../helpers/certificates.ts'
import { Developed } from '../helpers/developed.ts'
import { Http2Client } from '../helpers/http2-client.ts'
import { RawClient, type RawResponse } from '../helpers/raw-client.ts'
import { gone, Supervised } from '../helpers/supervised.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const clean = { code: 0, signal: null }

describe('a stub', { concurrency: 2 }, () => {
  it('V4 answers 503 when no worker was ready for 5 s, leaves in order, and loses no answer', async () => {
    using folder = temporaryFolder()
    const BROKEN = join(folder.path, 'broken')
    using program = await Supervised.ready(1, [], { env: { BROKEN } })
    const port = await program.port()
    writeFileSync(BROKEN, '')
    process.kill(await program.pid(), 'SIGKILL')
    const asking = askOn(port)
    const { pid, time } = await program.event('stub.ready')
    const since = Date.parse(String((await program.event('worker.gone'))['time']))
    assert.ok(Date.parse(String(time)) - since >= 5_000)
    const { status, headers, body } = await program.get('/anything')
    assert.deepEqual([status, headers['retry-after'], headers['connection']], [503, '1', 'close'])
    assert.equal(body, 'Service Unavailable\n')
    assert.equal((await program.get('/livez')).status, 200)
    assert.equal((await program.get('/readyz')).status, 503)
    rmSync(BROKEN)
    await program.nth('worker.ready', 2)
    await program.event('stub.gone')
    await gone(Number(pid))
    assert.equal((await program.get('/readyz')).status, 200)
    const seen = await asking.stop()
    assert.deepEqual([...seen.keys()].sort(), ['200', '503'])
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), clean)
  })

  it('V4 speaks what the service speaks: TLS and HTTP/2', async () => {
    using folder = temporaryFolder()
    const { cert, key } = writePair(folder.path, issue())
    const args = ['--tls-cert', cert, '--tls-key', key, '--http2']
    using program = await Developed.start({ files: { 'app.ts': 'throw new Error("no")' }, args })
    await program.event('stub.ready')
    const port = await program.port()
    using client = await Http2Client.connect(port, { tls: true })
    const answer = await client.request('GET /', { accept: 'text/html' })
    assert.equal(answer.status, 503)
    assert.match(answer.body, /<h1>.*no/)
    using old = await RawClient.connect(port, { tls: true })
    assert.equal((await old.request('GET /').response()).status, 503)
    program.write('app.ts', 'export default { fetch: () => new Response("yes") }')
    await program.event('worker.ready')
    using again = await Http2Client.connect(port, { tls: true })
    assert.equal((await again.request('GET /')).body, 'yes')
    await program.event('stub.gone')
    program.signal('SIGINT')
    assert.deepEqual(await program.exit(), clean)
  })

  it('V4 loads nothing of the app', async () => {
    const files = {
      'first.ts': `console.log(JSON.stringify({ event: 'first', pid: process.pid }))`,
      'app.ts': `console.log(JSON.stringify({ event: 'app', pid: process.pid })); throw new Error('no')`,
    }
    using program = await Developed.start({ files, args: ['--import', './first.ts'] })
    const { pid } = await program.event('stub.ready')
    await program.get('/')
    const loadedBy = program.lines.filter(({ event }) => event === 'first' || event === 'app')
    assert.deepEqual(loadedBy.map((line) => line['pid'] === pid), [false, false]) // oxfmt-ignore
  })

  it('V4 ends with the service while it answers', async () => {
    using program = await Developed.start({ files: { 'app.ts': 'throw new Error("no")' } })
    const { pid } = await program.event('stub.ready')
    using page = await program.connect()
    const { headers } = await page.request('GET /').response()
    using waiting = await program.connect()
    waiting.send(
      `GET / HTTP/1.1\r\nHost: test\r\nsteward-waits: ${headers['steward-stub']}\r\n\r\n`,
    )
    await program.get('/')
    program.signal('SIGINT')
    assert.equal((await waiting.response()).status, 503)
    assert.deepEqual(await program.exit(), clean)
    await gone(Number(pid))
  })
})

/** Asks again and again, on a connection each, and counts the statuses: whatever else happens is an error. */
function askOn(port: number): { stop(): Promise<Map<string, number>> } {
  const seen = new Map<string, number>()
  let isOn = true
  const ask = async (): Promise<RawResponse> => {
    using client = await RawClient.connect(port)
    return await client.request('POST /', 'body').response()
  }
  const loop = async (): Promise<void> => {
    while (isOn) {
      const fate = await ask().then(({ status }) => String(status), String)
      seen.set(fate, (seen.get(fate) ?? 0) + 1)
    }
  }
  const loops = [loop(), loop()]
  const stop = async (): Promise<Map<string, number>> => {
    isOn = false
    await Promise.all(loops)
    return seen
  }
  return { stop }
}

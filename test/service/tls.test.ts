import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type IncomingHttpHeaders } from 'node:http2'
import { get } from 'node:https'
import { describe, it } from 'node:test'
import { text } from 'node:stream/consumers'
import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { perApp, serve, service } from '../../src/index.ts'
import { authority, issue, writePair } from '../helpers/certificates.ts'
import { fastWorld } from '../helpers/fast-world.ts'
import { Program } from '../helpers/program.ts'
import { hello, quietly } from '../helpers/services.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { Told } from '../helpers/told.ts'
import { within } from '../helpers/within.ts'

const ca = authority()

/** What an https client gets, and the certificate that it saw, on a connection of its own. */
async function ask(url: string): Promise<{ body: string; serialNumber: string }> {
  const request = get(url, { ca: ca.cert, agent: false })
  const [response] = (await within(5_000, once(request, 'response'))) as [IncomingMessage]
  const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate()
  return { body: await text(response), serialNumber }
}

describe('serve() with tls', () => {
  it('serves https, and what is renewed while it does', async () => {
    using folder = temporaryFolder()
    const [first, second] = [issue({ by: ca }), issue({ by: ca })]
    const told = new Told()
    const options = { ...quietly, world: fastWorld(100), on: told.on }
    await using running = await serve(hello, { ...options, tls: writePair(folder.path, first) })
    assert.match(running.url, /^https:\/\/127\.0\.0\.1:\d+$/)
    const before = await ask(running.url)
    assert.deepEqual(before, { body: 'hello', serialNumber: first.read.serialNumber })
    writePair(folder.path, second)
    await told.event('certificate.reloaded')
    assert.equal((await ask(running.url)).serialNumber, second.read.serialNumber)
  })

  it('G4 goes on speaking both protocols after a renewal', async () => {
    using folder = temporaryFolder()
    const [first, second] = [issue({ by: ca }), issue({ by: ca })]
    const told = new Told()
    const options = { ...quietly, http2: true, world: fastWorld(100), on: told.on }
    await using running = await serve(hello, { ...options, tls: writePair(folder.path, first) })
    writePair(folder.path, second)
    await told.event('certificate.reloaded')
    assert.equal((await ask(running.url)).serialNumber, second.read.serialNumber)
    const client = connect(running.url, { ca: ca.cert })
    const [head] = (await within(
      5_000,
      once(client.request({ ':path': '/' }).resume(), 'response'),
    )) as [IncomingHttpHeaders]
    assert.equal(head[':status'], 200)
    assert.equal(client.alpnProtocol, 'h2')
    client.destroy()
  })

  it('L3 finds a wrong certificate before anything is opened', async () => {
    using folder = temporaryFolder()
    const files = writePair(folder.path, { ...issue(), key: issue().key })
    const told = new Told()
    const db = perApp(() => assert.fail('it was opened'))
    const serving = serve(service({ app: hello, resources: { db } }), {
      ...quietly,
      tls: files,
      on: told.on,
    })
    await assert.rejects(serving, { code: 'ERR_TLS', message: /they do not belong together/ })
    assert.deepEqual(told.events, [])
  })

  it('H17 ends at once when nothing is open, though its certificate is watched', async () => {
    using folder = temporaryFolder()
    const { cert, key } = writePair(folder.path, issue({ by: ca }))
    using program = Program.serve('hello.ts', ['--tls-cert', cert, '--tls-key', key])
    await program.event('service.ready')
    await ask(`${await program.url()}/`)
    program.signal('SIGTERM')
    assert.deepEqual(await program.exit(), { code: 0, signal: null })
    assert.deepEqual(program.names('process.held', 'warning', 'error'), [])
  })
})

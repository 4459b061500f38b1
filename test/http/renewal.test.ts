import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync,
} from 'node:fs' // oxfmt-ignore
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import tls from 'node:tls'
import { Certificate, type TlsFiles } from '../../src/http/certificates.ts'
import { keepRenewed } from '../../src/http/renewal.ts'
import { authority, inDays, issue, writePair, type Issued } from '../helpers/certificates.ts'
import { FakeWorld } from '../helpers/fake-world.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'
import { Told } from '../helpers/told.ts'
import { turns, within } from '../helpers/within.ts'

const ca = authority()

/** A TLS server that greets whoever comes, and repeats what it is told. */
async function renewing(files: TlsFiles) {
  const certificate = await Certificate.load(files)
  const server = tls.createServer(certificate.options, (socket) => {
    socket.on('error', () => {}).write('hello')
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const [told, world] = [new Told(), new FakeWorld()]
  const release = keepRenewed(server, certificate, { emit: told.on, world })
  return {
    told,
    world,
    release,
    connect: (options?: tls.ConnectionOptions) => connect(port, options),
    served: async () => {
      using client = await connect(port)
      return client.serialNumber
    },
    /** Lets the time to the next look go by, and waits until it has looked. */
    look: async () => {
      await world.advance(10_000)
      while (world.timers === 0) await turns(1)
    },
    warnings: () => told.all('warning').map(({ message }) => message),
    [Symbol.asyncDispose]: async () => {
      release()
      await new Promise((closed) => server.close(closed))
    },
  }
}

/** A handshake that has succeeded in both directions. */
async function connect(port: number, options: tls.ConnectionOptions = {}) {
  const socket = tls.connect({ port, host: 'localhost', ca: ca.cert, ...options })
  const session = once(socket, 'session').then(([given]) => given as Buffer)
  session.catch(() => {})
  const refused = once(socket, 'close').then(() => assert.fail('it was refused'))
  refused.catch(() => {})
  await within(5_000, Promise.race([once(socket, 'data'), refused]), 'the greeting')
  return {
    socket,
    session,
    serialNumber: socket.getPeerCertificate().serialNumber,
    echo: async (text: string) => {
      socket.write(text)
      const [data] = (await within(5_000, once(socket, 'data'), 'the echo')) as [Buffer]
      return String(data)
    },
    [Symbol.dispose]: () => void socket.destroy(),
  }
}

/** As certbot: the live names are links into the archive, and each is taken away and made anew. */
function certbot(folder: string, issued: Issued): TlsFiles {
  const archive = mkdtempSync(join(folder, 'archive-'))
  const written = writePair(archive, issued)
  const live = { cert: join(folder, 'fullchain.pem'), key: join(folder, 'privkey.pem') }
  for (const role of ['cert', 'key'] as const) {
    rmSync(live[role], { force: true })
    symlinkSync(written[role], live[role])
  }
  return live
}

/** As the kubelet: the names lead through a link to a folder, which is renamed over; the old folder is removed. */
function kubelet(folder: string, issued: Issued): TlsFiles {
  const data = mkdtempSync(join(folder, '..data-'))
  writePair(data, issued)
  symlinkSync(data, join(folder, '..data_tmp'))
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
  const files = { cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key') }
  for (const [role, path] of Object.entries(files)) {
    rmSync(path, { force: true })
    symlinkSync(join('..data', `${role}.pem`), path)
  }
  return files
}

/** As careful programs: written beside, and renamed over. */
function atomically(folder: string, issued: Issued): TlsFiles {
  const beside = join(folder, 'new')
  mkdirSync(beside)
  const written = writePair(beside, issued)
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  for (const role of ['key', 'cert'] as const) renameSync(written[role], files[role])
  rmSync(beside, { recursive: true })
  return files
}

const WAYS = { certbot, kubelet, 'a rename': atomically, 'writing over': writePair }

describe('keepRenewed()', () => {
  for (const [name, write] of Object.entries(WAYS)) {
    it(`H14 serves what was renewed by ${name}, and leaves open connections alone`, async () => {
      using folder = temporaryFolder()
      const [first, second] = [issue({ by: ca }), issue({ by: ca })]
      const files = write(folder.path, first)
      await using server = await renewing(files)
      using open = await server.connect()
      assert.equal(open.serialNumber, first.read.serialNumber)
      write(folder.path, second)
      assert.equal(await server.served(), first.read.serialNumber)
      await server.look()
      assert.equal(await server.served(), second.read.serialNumber)
      assert.equal(await open.echo('still here'), 'still here')
      const { cert: file } = files
      const validTo = new Date(second.read.validTo).toISOString()
      assert.deepEqual(server.told.events, [
        { type: 'certificate.reloaded', file, subject: 'CN=localhost', validTo },
      ])
    })
  }

  it('H14 waits for the key when only the certificate was written', async () => {
    using folder = temporaryFolder()
    const [first, second] = [issue({ by: ca }), issue({ by: ca })]
    const files = writePair(folder.path, first)
    await using server = await renewing(files)
    writeFileSync(files.cert, second.cert)
    await server.look()
    assert.equal(await server.served(), first.read.serialNumber)
    writeFileSync(files.key, second.key)
    await server.look()
    assert.equal(await server.served(), second.read.serialNumber)
    assert.deepEqual(server.warnings(), [])
  })

  it('H14 keeps the old one, and warns once, when certificate and key stay apart', async () => {
    using folder = temporaryFolder()
    const [first, second] = [issue({ by: ca }), issue({ by: ca })]
    const files = writePair(folder.path, first)
    await using server = await renewing(files)
    writeFileSync(files.cert, second.cert)
    for (let looks = 0; looks < 4; looks++) await server.look()
    assert.equal(await server.served(), first.read.serialNumber)
    const until = new Date(first.read.validTo).toISOString()
    assert.deepEqual(server.warnings(), [
      `Cannot serve TLS with the certificate "${files.cert}" and the key "${files.key}": they do not belong together; give the key that the certificate was issued for; the certificate from before stays, it is valid until ${until}`,
    ])
    writeFileSync(files.key, second.key)
    await server.look()
    assert.equal(await server.served(), second.read.serialNumber)
  })

  it('H14 warns of each reason why it is not renewed', async () => {
    using folder = temporaryFolder()
    const first = issue({ by: ca })
    const files = writePair(folder.path, first)
    await using server = await renewing(files)
    const breaks = [
      () => writeFileSync(files.cert, first.cert.slice(0, 300)),
      () => unlinkSync(files.cert),
      () => writeFileSync(files.cert, ''),
    ]
    for (const spoil of breaks) {
      spoil()
      for (let looks = 0; looks < 3; looks++) await server.look()
      assert.equal(await server.served(), first.read.serialNumber)
    }
    const found = server.warnings().map((one) => /certificate: (.+?)[;(]/.exec(one)?.[1]?.trim())
    assert.deepEqual(found, [
      'certificate 1 in it cannot be read',
      'there is no such file',
      'it is empty',
    ])
  })

  it('H14 says nothing when the files are again as they were, or only touched', async () => {
    using folder = temporaryFolder()
    const first = issue({ by: ca })
    const files = writePair(folder.path, first)
    await using server = await renewing(files)
    unlinkSync(files.cert)
    await server.look()
    writePair(folder.path, first)
    await server.look()
    unlinkSync(files.cert)
    await server.look()
    writePair(folder.path, first)
    utimesSync(files.cert, new Date(), new Date())
    await server.look()
    assert.deepEqual(server.told.events, [])
  })

  it('H14 shows the new one to a client that would resume a session', async () => {
    using folder = temporaryFolder()
    const [first, second] = [issue({ by: ca }), issue({ by: ca })]
    await using server = await renewing(writePair(folder.path, first))
    using before = await server.connect()
    const session = await within(5_000, before.session, 'a session ticket')
    using resumed = await server.connect({ session })
    assert.equal(resumed.socket.isSessionReused(), true)
    writePair(folder.path, second)
    await server.look()
    using after = await server.connect({ session })
    assert.equal(after.socket.isSessionReused(), false)
    assert.equal(after.serialNumber, second.read.serialNumber)
  })

  it('H14 lets in whom the authorities vouch for, and renews them, too', async () => {
    using folder = temporaryFolder()
    const [one, another] = [authority('One'), authority('Another')]
    const [ofOne, ofAnother] = [issue({ by: one }), issue({ by: another })]
    const path = join(folder.path, 'ca.pem')
    writeFileSync(path, one.cert)
    const files = { ...writePair(folder.path, issue({ by: ca })), ca: path }
    await using server = await renewing(files)
    const isLetIn = async ({ cert, key }: Partial<Issued>, session?: Buffer): Promise<boolean> => {
      const options = { ...(cert && { cert, key }), ...(session && { session }) }
      return server.connect(options as tls.ConnectionOptions).then(
        (client) => (client[Symbol.dispose](), true),
        () => false,
      )
    }
    assert.equal(await isLetIn({}), false)
    assert.equal(await isLetIn(ofAnother), false)
    using client = await server.connect({ cert: ofOne.cert, key: ofOne.key })
    const session = await within(5_000, client.session, 'a session ticket')
    writeFileSync(path, another.cert)
    await server.look()
    assert.equal(await isLetIn(ofAnother), true)
    assert.equal(await isLetIn(ofOne), false)
    // A ticket from before the change opens nothing
    assert.equal(await isLetIn(ofOne, session), false)
    assert.equal(await client.echo('still here'), 'still here')
  })

  it('H14 warns at the start, at a reload, and when the end comes near while it serves', async (test: TestContext) => {
    using folder = temporaryFolder()
    const start = Date.now()
    const [first, second] = [
      issue({ by: ca, from: inDays(-80), until: inDays(10) }),
      issue({ by: ca, from: inDays(-80), until: inDays(5) }),
    ]
    test.mock.timers.enable({ apis: ['Date'], now: start })
    await using server = await renewing(writePair(folder.path, first))
    await server.look()
    assert.deepEqual(server.warnings().map(gist), ['expires on'])
    writePair(folder.path, second)
    await server.look()
    await server.look()
    assert.deepEqual(server.warnings().map(gist), ['expires on', 'expires on'])
    test.mock.timers.setTime(start + 6 * 24 * 3_600_000)
    await server.look()
    await server.look()
    assert.deepEqual(server.warnings().map(gist), ['expires on', 'expires on', 'has expired on'])
  })

  it('H14 ends with its release, also in the middle of a look', async () => {
    using folder = temporaryFolder()
    const [first, second] = [issue({ by: ca }), issue({ by: ca })]
    await using server = await renewing(writePair(folder.path, first))
    writePair(folder.path, second)
    await server.world.advance(10_000)
    assert.equal(server.world.timers, 0, 'it looks')
    server.release()
    // A look that nobody has ended is over by then
    await using witness = await renewing(writePair(folder.path, second))
    await witness.look()
    assert.equal(server.world.timers, 0)
    assert.deepEqual(server.told.events, [])
    assert.equal(await server.served(), first.read.serialNumber)
    assert.equal(witness.world.timers, 1)
    witness.release()
    assert.equal(witness.world.timers, 0)
  })

  it('H17 keeps no process alive', async () => {
    using folder = temporaryFolder()
    const certificate = await Certificate.load(writePair(folder.path, issue()))
    const kinds: unknown[] = []
    const timer: FakeWorld['timer'] = (...args: unknown[]) => (kinds.push(args[2]), () => {})
    const world = Object.assign(new FakeWorld(), { timer })
    keepRenewed({ setSecureContext() {} }, certificate, { emit: () => {}, world })()
    assert.deepEqual(kinds, ['idle'])
  })

  it('does not look again at what came out of a pipe', async () => {
    using folder = temporaryFolder()
    const files = writePair(folder.path, issue())
    const pipe = join(folder.path, 'pipe')
    execFileSync('sh', ['-c', 'mkfifo "$0"', pipe])
    const writer = spawn('sh', ['-c', 'exec cat "$0" > "$1"', files.key, pipe])
    const written = once(writer, 'close')
    const certificate = await within(5_000, Certificate.load({ ...files, key: pipe }))
    await written
    const world = new FakeWorld()
    keepRenewed({ setSecureContext() {} }, certificate, { emit: () => {}, world })
    assert.equal(world.timers, 0)
  })
})

function gist(message: string): string | undefined {
  return /expires on|has expired on|is not valid before/.exec(message)?.[0]
}

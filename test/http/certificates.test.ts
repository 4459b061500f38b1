import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Certificate, type TlsFiles } from '../../src/http/certificates.ts'
import { authority, encrypted, inDays, issue, writePair } from '../helpers/certificates.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

const ours = issue()
const other = issue()
const ca = authority()

interface Case {
  name: string
  /** What the files hold in the place of a good certificate, its key, and its authorities. */
  cert?: string
  key?: string
  ca?: string
  /** The sentence; `<cert>`, `<key>` and `<ca>` stand for the paths. */
  says: string
}

const WANTS_CERT = 'give a certificate in PEM (-----BEGIN CERTIFICATE-----)'
const WANTS_KEY = 'give a private key in PEM (-----BEGIN PRIVATE KEY-----)'
const asCert = 'Cannot serve TLS with "<cert>" as the certificate'
const asKey = 'Cannot serve TLS with "<key>" as the key'
const asCa = 'Cannot serve TLS with "<ca>" as the client authorities'
const asPair = 'Cannot serve TLS with the certificate "<cert>" and the key "<key>"'
const publicKey = ours.read.publicKey.export({ type: 'spki', format: 'pem' }).toString()
const half = ours.cert.slice(0, 300)

const CASES: Case[] = [
  { name: 'an empty certificate', cert: '', says: `${asCert}: it is empty; ${WANTS_CERT}` },
  { name: 'a certificate that is not PEM', cert: 'hello', says: `${asCert}: it is not PEM; ${WANTS_CERT}` },
  { name: 'a certificate in DER', cert: ours.read.raw.toString('latin1'), says: `${asCert}: it is not PEM; ${WANTS_CERT}` },
  { name: 'a key as the certificate', cert: ours.key, says: `${asCert}: it holds a private key; ${WANTS_CERT}` },
  { name: 'a request as the certificate', cert: ours.cert.replaceAll('CERTIFICATE', 'CERTIFICATE REQUEST'), says: `${asCert}: it holds a certificate request; ${WANTS_CERT}` },
  { name: 'half a certificate', cert: half, says: `${asCert}: certificate 1 in it cannot be read (bad end line); write the file anew` },
  { name: 'half of a chain', cert: ours.cert + half, says: `${asCert}: certificate 2 in it cannot be read (bad end line); write the file anew` },
  { name: 'an empty key', key: '', says: `${asKey}: it is empty; ${WANTS_KEY}` },
  { name: 'a certificate as the key', key: ours.cert, says: `${asKey}: it holds a certificate; ${WANTS_KEY}` },
  { name: 'a public key as the key', key: publicKey, says: `${asKey}: it holds a public key; ${WANTS_KEY}` },
  { name: 'half a key', key: ours.key.slice(0, 100), says: `${asKey}: the key in it cannot be read (unsupported); write the file anew` },
  { name: 'an encrypted key', key: encrypted(ours, 'hunter2'), says: `${asKey}: it is encrypted, and there is no option for a passphrase; decrypt it with openssl pkey, and let nobody else read the file` },
  { name: 'a key that OpenSSL encrypted in its old form', key: '-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,5AA5\n\nAAAA\n-----END RSA PRIVATE KEY-----\n', says: `${asKey}: it is encrypted, and there is no option for a passphrase; decrypt it with openssl pkey, and let nobody else read the file` },
  { name: 'the key of another certificate', key: other.key, says: `${asPair}: they do not belong together; give the key that the certificate was issued for` },
  { name: 'a chain in the wrong order', cert: ca.cert + ours.cert, says: `${asPair}: the key is that of certificate 2 in the file; put that one first` },
  { name: 'empty authorities', ca: '', says: `${asCa}: it is empty; ${WANTS_CERT}` },
  { name: 'authorities that are not PEM', ca: 'hello', says: `${asCa}: it is not PEM; ${WANTS_CERT}` },
  { name: 'half of the authorities', ca: ca.cert + half, says: `${asCa}: certificate 2 in it cannot be read (bad end line); write the file anew` },
] // oxfmt-ignore

/** Good files in a folder, apart from what a case has in their place. */
function filesOf(folder: string, given: Partial<TlsFiles>): TlsFiles {
  const { cert = ours.cert, key = ours.key } = given
  const files = { ...ours, cert, key }
  if (given.ca === undefined) return writePair(folder, files)
  writeFileSync(join(folder, 'ca.pem'), given.ca)
  return { ...writePair(folder, files), ca: join(folder, 'ca.pem') }
}

async function refusal(files: TlsFiles): Promise<Error & { code: string }> {
  return Certificate.load(files).then(
    () => assert.fail('it was taken'),
    (error: Error & { code: string }) => error,
  )
}

function sentence(says: string, files: TlsFiles): string {
  return says.replaceAll(/<(cert|key|ca)>/g, (_, role: keyof TlsFiles) => files[role]!)
}

/** Runs it as a user who is not everybody's master, where the tests are that. */
async function asNobody<T>(run: () => Promise<T>): Promise<T> {
  if (process.geteuid!() !== 0) return run()
  process.seteuid!(65_534)
  try {
    return await run()
  } finally {
    process.seteuid!(0)
  }
}

describe('Certificate.load()', () => {
  for (const { name, says, ...given } of CASES) {
    it(`L3 says what to do about ${name}`, async () => {
      using folder = temporaryFolder()
      const files = filesOf(folder.path, given)
      const { code, message } = await refusal(files)
      assert.equal(message, sentence(says, files))
      assert.equal(code, 'ERR_TLS')
    })
  }

  for (const role of ['cert', 'key', 'ca'] as const) {
    const what = { cert: 'certificate', key: 'key', ca: 'client authorities' }[role]
    it(`L3 names the ${what} that is missing, or a folder, by the whole path`, async () => {
      using folder = temporaryFolder()
      const files = filesOf(folder.path, { ca: ca.cert })
      const missing = join(folder.path, 'nope.pem')
      assert.equal(
        (await refusal({ ...files, [role]: missing })).message,
        `Cannot serve TLS with "${missing}" as the ${what}: there is no such file; give the path of a file in PEM`,
      )
      assert.equal(
        (await refusal({ ...files, [role]: folder.path })).message,
        `Cannot serve TLS with "${folder.path}" as the ${what}: it is a folder; give the path of the file in it`,
      )
    })
  }

  it('L3 names a key that may not be read', async () => {
    using folder = temporaryFolder()
    const files = filesOf(folder.path, {})
    chmodSync(folder.path, 0o755)
    chmodSync(files.key, 0o000)
    const { message } = await asNobody(() => refusal(files))
    assert.equal(
      message,
      `Cannot serve TLS with "${files.key}" as the key: this user may not read it (EACCES); allow it, or serve as a user who may`,
    )
  })

  it('L3 refuses what OpenSSL would refuse at the first handshake', async () => {
    using folder = temporaryFolder()
    const weak = issue({ by: ca, keys: generateKeyPairSync('rsa', { modulusLength: 512 }) })
    const { message } = await refusal(filesOf(folder.path, weak))
    assert.match(message, /: OpenSSL refuses them \(ee key too small\); have the certificate/)
  })

  it('takes a chain, text around it, Windows line ends, and both in one file', async () => {
    using folder = temporaryFolder()
    const signed = issue({ by: ca })
    const both = `The certificate:\r\n${signed.cert}${ca.cert}${signed.key}`.replaceAll(
      '\n',
      '\r\n',
    )
    const path = join(folder.path, 'both.pem')
    writeFileSync(path, both)
    const { subject, validTo, options } = await Certificate.load({ cert: path, key: path })
    assert.equal(subject, 'CN=localhost')
    assert.equal(validTo.getTime(), Date.parse(signed.read.validTo))
    assert.deepEqual(options, { cert: both, key: both })
  })

  it('asks clients for a certificate when it is given their authorities', async () => {
    using folder = temporaryFolder()
    const { options } = await Certificate.load(filesOf(folder.path, { ca: ca.cert }))
    assert.equal(options.ca, ca.cert)
    assert.equal(options.requestCert, true)
    assert.equal(options.rejectUnauthorized, true)
  })

  it('X1 refuses what are no paths, and never quotes a key', async () => {
    const load = (tls: unknown): Promise<Error & { code: string }> => refusal(tls as TlsFiles)
    const cases: [tls: unknown, says: string][] = [
      [true, 'true (boolean) as "tls": pass { cert, key }, the paths of PEM files'],
      [{ cert: 'a.pem' }, 'undefined as "tls.key": give the path of a PEM file'],
      [{ cert: '', key: 'b.pem' }, '"" (string) as "tls.cert": give the path of a PEM file'],
      [{ cert: 'a', key: 'b', ca: '' }, '"" (string) as "tls.ca": give the path of a PEM file'],
      [{ cert: 'a', key: 'b', ca: null }, 'null as "tls.ca": give the path of a PEM file'],
      [{ cert: 'a', key: Buffer.from(ours.key) }, 'an instance of Buffer as "tls.key": give the path of a PEM file'],
      [{ cert: 'a', key: ours.key }, 'PEM text as "tls.key": give the path of the file that it is in'],
      [{ cert: 'a', key: 'b', passphrase: 'hunter2' }, '"passphrase" in "tls": there is no such option, known are cert, key, ca'],
    ] // oxfmt-ignore
    for (const [tls, says] of cases) {
      const { code, message } = await load(tls)
      assert.equal(message, `Cannot use ${says}`)
      assert.equal(code, 'ERR_BAD_OPTION')
    }
  })
})

describe('the warning of a certificate', () => {
  async function warningOf(from: Date, until: Date): Promise<string | undefined> {
    using folder = temporaryFolder()
    const certificate = await Certificate.load(writePair(folder.path, issue({ from, until })))
    const { cert } = certificate.files
    return certificate
      .warning(Date.now())
      ?.replace(`The certificate "${cert}" (CN=localhost)`, 'It')
  }
  const dayOf = (date: Date): string => date.toISOString().slice(0, 10)

  it('is taken, and warned of, when it has expired', async () => {
    const until = inDays(-1)
    assert.equal(
      await warningOf(inDays(-90), until),
      `It has expired on ${dayOf(until)}: clients refuse it until it is renewed`,
    )
  })

  it('is taken, and warned of, when it is not yet valid', async () => {
    const from = inDays(2)
    from.setMilliseconds(0)
    assert.equal(
      await warningOf(from, inDays(90)),
      `It is not valid before ${from.toISOString()}: clients refuse it until then, or the clock of this machine is wrong`,
    )
  })

  it('warns in the last 14 days of a long life', async () => {
    const until = inDays(13)
    assert.equal(
      await warningOf(inDays(-352), until),
      `It expires on ${dayOf(until)}: renew it, and it is reloaded when its files have changed`,
    )
    assert.equal(await warningOf(inDays(-350), inDays(15)), undefined)
  })

  it('warns in the last sixth of a short life', async () => {
    assert.equal(await warningOf(inDays(-4), inDays(2)), undefined)
    assert.match((await warningOf(inDays(-5.5), inDays(0.5)))!, /^It expires on /)
  })
})

import {
  createPrivateKey, generateKeyPairSync, randomBytes, sign, X509Certificate, type KeyObject,
  type KeyPairKeyObjectResult,
} from 'node:crypto' // oxfmt-ignore
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** A certificate and its key, as PEM. */
export interface Issued {
  readonly cert: string
  readonly key: string
  /** The certificate, read: its `serialNumber`, `fingerprint256`, `validTo`. */
  readonly read: X509Certificate
}

export interface IssueOptions {
  /** The common name of its subject. @default 'localhost' */
  name?: string
  /** Who signs it. @default itself */
  by?: Issued
  /** Its key pair. @default a new one of P-256 */
  keys?: KeyPairKeyObjectResult
  /** May it sign others? @default false */
  isAuthority?: boolean
  /** From when it is valid. @default an hour ago */
  from?: Date
  /** Until when. @default in 90 days */
  until?: Date
}

const HOUR = 3_600_000
const DAY = 24 * HOUR

/** So many days from now; before now when it is negative. */
export function inDays(days: number): Date {
  return new Date(Date.now() + days * DAY)
}

/** A certificate authority of the test's own. */
export function authority(name = 'Test Authority'): Issued {
  return issue({ name, isAuthority: true })
}

/** A certificate for localhost, 127.0.0.1 and ::1, with a key of its own. An authority's key has to be of P-256. */
export function issue(options: IssueOptions = {}): Issued {
  const { keys = generateKeyPairSync('ec', { namedCurve: 'P-256' }) } = options
  const { privateKey, publicKey } = keys
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const signer = options.by ? createPrivateKey(options.by.key) : privateKey
  const toSign = tbsCertificate(options, publicKey)
  const signature = bitString(sign('sha256', toSign, signer))
  const read = new X509Certificate(sequence(toSign, ECDSA_WITH_SHA256, signature))
  return { cert: read.toString(), key, read }
}

/** The key, as PEM that only a passphrase opens. */
export function encrypted({ key }: Issued, passphrase: string): string {
  const options = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase } as const
  return createPrivateKey(key).export(options).toString()
}

/** Writes `cert.pem` and `key.pem` into a folder, and gives their paths. */
export function writePair(folder: string, { cert, key }: Issued): { cert: string; key: string } {
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  return files
}

// X.509 (RFC 5280 §4.1) in DER: as much of it as a test needs

function tbsCertificate(options: IssueOptions, publicKey: KeyObject): Buffer {
  const { name = 'localhost', by, isAuthority = false } = options
  const { from = new Date(Date.now() - HOUR), until = inDays(90) } = options
  const extensions = isAuthority ? [CA] : [LOCALHOST]
  return sequence(
    context(0, integer(Buffer.of(2))),
    integer(serialNumber()),
    ECDSA_WITH_SHA256,
    commonName(by ? nameOf(by) : name),
    sequence(time(from), time(until)),
    commonName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    context(3, sequence(...extensions)),
  )
}

function nameOf({ read }: Issued): string {
  return read.subject.replace(/^CN=/, '')
}

/** Positive, and without a zero in front. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes
}

function commonName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid(0x55, 4, 3), tagged(0x0c, Buffer.from(name)))))
}

/** Two digits of the year until 2049, four from then on (RFC 5280 §4.1.2.5). */
function time(date: Date): Buffer {
  const text = date.toISOString().replaceAll(/[-:T]|\.\d+/g, '')
  return date.getUTCFullYear() < 2050
    ? tagged(0x17, Buffer.from(text.slice(2)))
    : tagged(0x18, Buffer.from(text))
}

function tagged(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...size), content])
}

function sequence(...parts: Uint8Array[]): Buffer {
  return tagged(0x30, ...parts)
}

function context(number: number, part: Buffer): Buffer {
  return tagged(0xa0 + number, part)
}

function integer(bytes: Buffer): Buffer {
  return tagged(0x02, bytes)
}

function oid(...bytes: number[]): Buffer {
  return tagged(0x06, Buffer.of(...bytes))
}

function octets(part: Buffer): Buffer {
  return tagged(0x04, part)
}

function bitString(bytes: Buffer): Buffer {
  return tagged(0x03, Buffer.of(0), bytes)
}

const ECDSA_WITH_SHA256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2))
const TRUE = tagged(0x01, Buffer.of(0xff))
/** basicConstraints: it is an authority. */
const CA = sequence(oid(0x55, 29, 19), TRUE, octets(sequence(TRUE)))
/** subjectAltName: localhost and the two loopback addresses. */
const LOCALHOST = sequence(
  oid(0x55, 29, 17),
  octets(
    sequence(
      tagged(0x82, Buffer.from('localhost')),
      tagged(0x87, Buffer.of(127, 0, 0, 1)),
      tagged(0x87, Buffer.alloc(16).fill(1, 15)),
    ),
  ),
)

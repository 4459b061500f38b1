import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createSecureContext, type TlsOptions } from 'node:tls'
import { describe, describeError, StewardError } from '../base/errors.ts'

/** The files that TLS is served with, all in PEM. */
export interface TlsFiles {
  /** The certificate, and after it those that lead to its authority. */
  cert: string
  /** The certificate's private key, without a passphrase. */
  key: string
  /** The authorities of client certificates. With them, only clients that present a certificate of theirs are let in. */
  ca?: string | undefined
}

/** What a file is for. */
type Role = keyof TlsFiles

const ROLES: Readonly<Record<Role, string>> = {
  cert: 'certificate',
  key: 'key',
  ca: 'client authorities',
}

/** A certificate warns when this much time is left to it, or a sixth of its whole time if that is less: some live for days only. */
const SOON = 14 * 24 * 3_600_000

/** A certificate with its key, as they were in their files at one moment: read, and found to be usable. Nothing of it changes. */
export class Certificate {
  /** Where it is from: absolute paths. */
  readonly files: TlsFiles
  /** For `tls.createServer` and everything made of it; `setSecureContext` takes them as well. */
  readonly options: TlsOptions
  /** Are they regular files, which can change? What comes out of a pipe can be read once only. */
  readonly canChange: boolean
  readonly #own: X509Certificate

  private constructor(files: TlsFiles, pem: TlsFiles, canChange: boolean) {
    this.files = files
    this.canChange = canChange
    this.#own = ownOf(files, pem)
    this.options = { cert: pem.cert, key: pem.key, ...clientsOf(files, pem) }
    checkContext(files, this.options)
  }

  /**
   * Reads the files, and checks that TLS can be served with them.
   *
   * @throws `ERR_TLS` with the first thing that stands in the way, and the file; `ERR_BAD_OPTION` for what are no paths
   */
  static async load(given: TlsFiles): Promise<Certificate> {
    checkPaths(given)
    const files = {
      cert: resolve(given.cert),
      key: resolve(given.key),
      ca: given.ca === undefined ? undefined : resolve(given.ca),
    }
    const cert = await read('cert', files.cert)
    const key = await read('key', files.key)
    const ca = files.ca === undefined ? undefined : await read('ca', files.ca)
    const pem = { cert: cert.text, key: key.text, ca: ca?.text }
    return new Certificate(files, pem, cert.isFile && key.isFile && (ca?.isFile ?? true))
  }

  /** Whom it is for, in one line: `CN=shop.example.com`. */
  get subject(): string {
    const { subject, subjectAltName } = this.#own
    return subject?.replaceAll('\n', ', ') || subjectAltName || 'nobody'
  }

  /** The end of its validity. */
  get validTo(): Date {
    return new Date(this.#own.validTo)
  }

  /** What speaks against its validity at a time in milliseconds: it is over, nearly over, or has not begun. */
  warning(now: number): string | undefined {
    const [from, to] = [Date.parse(this.#own.validFrom), Date.parse(this.#own.validTo)]
    const which = `The certificate "${this.files.cert}" (${this.subject})`
    if (now >= to) {
      return `${which} has expired on ${day(to)}: clients refuse it until it is renewed`
    }
    if (now < from) {
      return `${which} is not valid before ${new Date(from).toISOString()}: clients refuse it until then, or the clock of this machine is wrong`
    }
    if (to - now > Math.min(SOON, (to - from) / 6)) return undefined
    return `${which} expires on ${day(to)}: renew it, and it is reloaded when its files have changed`
  }

  /** Has another one the same content? */
  isSameAs({ options }: Certificate): boolean {
    const { cert, key, ca } = this.options
    return cert === options.cert && key === options.key && ca === options.ca
  }
}

/** Not quoted: it may be the private key itself, as Node's own options take it. */
const PEM_TEXT = /^\s*-----BEGIN /

function checkPaths(given: unknown): void {
  if (typeof given !== 'object' || given === null) {
    throw badOption(`${describe(given)} as "tls"`, 'pass { cert, key }, the paths of PEM files')
  }
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(ROLES, name))
  if (unknown !== undefined) {
    throw badOption(`"${unknown}" in "tls"`, 'there is no such option, known are cert, key, ca')
  }
  const { cert, key, ca } = given as Partial<Record<Role, unknown>>
  for (const [role, path] of Object.entries({ cert, key, ...(ca === undefined ? {} : { ca }) })) {
    if (typeof path === 'string' && PEM_TEXT.test(path)) {
      throw badOption(`PEM text as "tls.${role}"`, 'give the path of the file that it is in')
    }
    if (typeof path === 'string' && path !== '') continue
    throw badOption(`${describe(path)} as "tls.${role}"`, 'give the path of a PEM file')
  }
}

function badOption(what: string, advice: string): StewardError {
  return new StewardError('ERR_BAD_OPTION', `Cannot use ${what}: ${advice}`)
}

function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10)
}

async function read(role: Role, path: string): Promise<{ text: string; isFile: boolean }> {
  try {
    const stats = await stat(path)
    return { text: await readFile(path, 'utf8'), isFile: stats.isFile() }
  } catch (error) {
    const { code } = error as { code?: string }
    throw cannotUse(role, path, {
      found: UNREADABLE[code ?? ''] ?? `${describeError(error)}; give a file that can be read`,
      cause: error,
    })
  }
}

/** What the usual errors of reading mean, and what to do. */
const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file; give the path of a file in PEM',
  ENOTDIR: 'there is no such file; give the path of a file in PEM',
  EISDIR: 'it is a folder; give the path of the file in it',
  EACCES: 'this user may not read it (EACCES); allow it, or serve as a user who may',
  EPERM: 'this user may not read it (EPERM); allow it, or serve as a user who may',
}

/** The server's own certificate, the first of its file; its key is checked with it. */
function ownOf(files: TlsFiles, pem: TlsFiles): X509Certificate {
  const chain = certificatesIn('cert', files.cert, pem.cert)
  const key = keyIn(files.key, pem.key)
  const at = chain.findIndex((one) => one.checkPrivateKey(key))
  if (at === 0) return chain[0]!
  throw cannotUsePair(
    files,
    at < 0
      ? 'they do not belong together; give the key that the certificate was issued for'
      : `the key is that of certificate ${at + 1} in the file; put that one first`,
  )
}

/**
 * Every certificate of a file, of which there is at least one. Node itself passes over what it cannot read in a list of
 * authorities, and an empty list would be everybody's.
 */
function certificatesIn(role: Role, path: string, pem: string): X509Certificate[] {
  const blocks = pem.split(/(?=-----BEGIN )/)
  const certificates = blocks.filter((block) => /^-----BEGIN (\w+ )?CERTIFICATE-----/.test(block))
  if (certificates.length === 0) {
    const found = `${contentOf(pem)}; give a certificate in PEM (-----BEGIN CERTIFICATE-----)`
    throw cannotUse(role, path, { found })
  }
  return certificates.map((block, at) => {
    try {
      return new X509Certificate(block)
    } catch (cause) {
      const found = `certificate ${at + 1} in it cannot be read (${reasonOf(cause)}); write the file anew`
      throw cannotUse(role, path, { found, cause })
    }
  })
}

function keyIn(path: string, pem: string): KeyObject {
  if (/BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(pem)) {
    const found =
      'it is encrypted, and there is no option for a passphrase; decrypt it with openssl pkey, and let nobody else read the file'
    throw cannotUse('key', path, { found })
  }
  if (!/-----BEGIN (\w+ )?PRIVATE KEY-----/.test(pem)) {
    const found = `${contentOf(pem)}; give a private key in PEM (-----BEGIN PRIVATE KEY-----)`
    throw cannotUse('key', path, { found })
  }
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    const found = `the key in it cannot be read (${reasonOf(cause)}); write the file anew`
    throw cannotUse('key', path, { found, cause })
  }
}

/** What a file holds that should hold something else. */
function contentOf(text: string): string {
  const [, label] = /-----BEGIN ([\w ]+)-----/.exec(text) ?? []
  if (label !== undefined) return `it holds a ${label.toLowerCase()}`
  return text === '' ? 'it is empty' : 'it is not PEM'
}

function clientsOf({ ca: path }: TlsFiles, { ca }: TlsFiles): TlsOptions {
  if (path === undefined || ca === undefined) return {}
  certificatesIn('ca', path, ca)
  return { ca, requestCert: true, rejectUnauthorized: true }
}

/** What only OpenSSL finds, such as a key that is too short. */
function checkContext(files: TlsFiles, options: TlsOptions): void {
  try {
    createSecureContext(options)
  } catch (cause) {
    const found = `OpenSSL refuses them (${reasonOf(cause)}); have the certificate issued anew`
    throw cannotUsePair(files, found, cause)
  }
}

/** The words in OpenSSL's `error:04800066:PEM routines::bad end line`. */
function reasonOf(error: unknown): string {
  return describeError(error).split('::').at(-1)!
}

function cannotUse(
  role: Role,
  path: string,
  { found, cause }: { found: string; cause?: unknown },
): StewardError {
  const message = `Cannot serve TLS with "${path}" as the ${ROLES[role]}: ${found}`
  return new StewardError('ERR_TLS', message, cause === undefined ? {} : { cause })
}

function cannotUsePair({ cert, key }: TlsFiles, found: string, cause?: unknown): StewardError {
  const message = `Cannot serve TLS with the certificate "${cert}" and the key "${key}": ${found}`
  return new StewardError('ERR_TLS', message, cause === undefined ? {} : { cause })
}

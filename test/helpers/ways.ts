import { describe } from 'node:test'
import { Certificate } from '../../src/http/certificates.ts'
import type { HttpServerOptions } from '../../src/http/server.ts'
import { issue, writePair } from './certificates.ts'
import { RawClient, type RawClientOptions } from './raw-client.ts'
import { serving, type Serving } from './serving.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** A way for HTTP/1.1 to reach a server: what holds for one of them holds for all. */
export interface Way {
  readonly name: string
  /** What the server is made with, beside what a test asks for. */
  readonly options: Pick<HttpServerOptions, 'tls' | 'http2'>
  readonly isSecure: boolean
  serving: typeof serving
  connect(port: number, options?: RawClientOptions): Promise<RawClient>
}

/** A certificate for localhost that never changes: its files are gone once they have been read. */
export const certificate: Certificate = await loaded()

async function loaded(): Promise<Certificate> {
  using folder = temporaryFolder()
  return await Certificate.load(writePair(folder.path, issue()))
}

export const plain: Way = way('plain', {})
export const byFirstBytes: Way = way('by its first bytes', { http2: true })
export const overTls: Way = way('over TLS', { tls: certificate })
export const byAlpn: Way = way('by ALPN', { tls: certificate, http2: true })

/** Runs the same tests over each of the ways. */
export function describeEach(name: string, tests: (way: Way) => void): void {
  for (const one of [plain, byFirstBytes, overTls, byAlpn]) {
    describe(`${name}, ${one.name}`, () => tests(one))
  }
}

function way(name: string, own: Way['options']): Way {
  const isSecure = own.tls !== undefined
  return {
    name,
    options: own,
    isSecure,
    serving: (handler, options): Promise<Serving> => serving(handler, { ...own, ...options }),
    connect: (port, options) => RawClient.connect(port, { ...options, tls: isSecure }),
  }
}

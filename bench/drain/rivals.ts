/** Who goes through the cases. */
export interface Rival {
  readonly name: string
  /** Its file in `rivals/`. */
  readonly file: string
  /** What it can serve besides HTTP/1.1. */
  readonly serves: readonly ('tls' | 'http2')[]
}

/** Ours: what is promised is promised for these. */
export const OURS: readonly Rival[] = [
  { name: 'steward', file: 'steward', serves: ['tls', 'http2'] },
  { name: 'steward, drain()', file: 'steward-drain', serves: ['tls', 'http2'] },
]

export const RIVALS: readonly Rival[] = [
  ...OURS,
  { name: 'server.close()', file: 'node', serves: ['tls', 'http2'] },
  { name: 'stoppable', file: 'stoppable', serves: ['tls'] },
  { name: 'http-terminator', file: 'http-terminator', serves: ['tls'] },
  { name: 'terminus', file: 'terminus', serves: ['tls'] },
  { name: 'http-graceful-shutdown', file: 'http-graceful-shutdown', serves: ['tls', 'http2'] },
  { name: 'Fastify, close-with-grace', file: 'fastify', serves: ['tls', 'http2'] },
  { name: 'srvx', file: 'srvx', serves: ['tls', 'http2'] },
  { name: 'NestJS', file: 'nest', serves: ['tls'] },
]

/** The packages whose versions are shown. */
export const PACKAGES: readonly string[] = [
  'stoppable',
  'http-terminator',
  '@godaddy/terminus',
  'http-graceful-shutdown',
  'fastify',
  'close-with-grace',
  'srvx',
  '@nestjs/core',
  '@nestjs/platform-express',
]

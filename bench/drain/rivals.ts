/** Who goes through the cases. */
export interface Rival {
  readonly name: string
  /** Its file in `rivals/`. */
  readonly file: string
  /** Can it serve HTTPS? */
  readonly tls: boolean
}

export const STEWARD: Rival = { name: 'steward', file: 'steward', tls: false }

export const RIVALS: readonly Rival[] = [
  STEWARD,
  { name: 'server.close()', file: 'node', tls: true },
  { name: 'stoppable', file: 'stoppable', tls: true },
  { name: 'http-terminator', file: 'http-terminator', tls: true },
  { name: 'terminus', file: 'terminus', tls: true },
  { name: 'http-graceful-shutdown', file: 'http-graceful-shutdown', tls: true },
  { name: 'Fastify, close-with-grace', file: 'fastify', tls: true },
  { name: 'srvx', file: 'srvx', tls: true },
  { name: 'NestJS', file: 'nest', tls: true },
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

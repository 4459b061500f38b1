import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Credentials } from './stage.ts'

/** A certificate of our own for 127.0.0.1, for one day; `undefined` where there is no `openssl`. */
export function makeCredentials(): Credentials | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'steward-bench-'))
  const cert = join(folder, 'cert.pem')
  const key = join(folder, 'key.pem')
  const options =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=127.0.0.1 ' +
    `-addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${cert}`
  try {
    if (spawnSync('openssl', options.split(' ')).status !== 0) return undefined
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

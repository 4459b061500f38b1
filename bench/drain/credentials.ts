import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Credentials } from './place.ts'

/** A certificate of our own for 127.0.0.1, for one day, until this process ends; `undefined` where there is no `openssl`. */
export function makeCredentials(): Credentials | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'steward-bench-'))
  process.once('exit', () => rmSync(folder, { recursive: true }))
  const cert = join(folder, 'cert.pem')
  const key = join(folder, 'key.pem')
  const options =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=127.0.0.1 ' +
    `-addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${cert}`
  if (spawnSync('openssl', options.split(' ')).status !== 0) return undefined
  const files = { cert, key }
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8'), files }
}

import type { Server } from 'node:net'
import type { TlsOptions } from 'node:tls'
import type { Release } from '../base/world.ts'
import type { Traffic } from './traffic.ts'

/** Stub until the real one is merged. */
export interface Certificate {
  readonly options: TlsOptions
  watch(server: Server, traffic: Traffic): Release
}

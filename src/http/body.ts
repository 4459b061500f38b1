import type { Readable } from 'node:stream'
import type { Exchange } from './exchange.ts'

/**
 * A stream is piped into the response of an exchange, which is not over before that has closed: a generator that it reads cleans
 * up meanwhile, with what was opened for the request. One that nobody destroys when the response ends is not waited for.
 */
export function followBody(exchange: Exchange, source: Readable): void {
  exchange.whenOver(() => closing(source))
}

async function closing(source: Readable): Promise<void> {
  // Who has piped it hears of the end in this turn, after us
  await new Promise<void>((resolve) => process.nextTick(resolve))
  if (!source.destroyed || source.closed !== false) return
  await new Promise((resolve) => source.once('close', resolve))
}

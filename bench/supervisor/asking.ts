import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'

/** An answer, or why there is none. */
export type Asked =
  | { is: 'answered'; worker: number; body: string }
  | { is: 'refused' }
  | { is: 'lost' }

/** How long an answer may take, in milliseconds. */
const PATIENCE = 2_000

/** One request on a connection of its own. */
export async function ask(port: number): Promise<Asked> {
  try {
    const signal = AbortSignal.timeout(PATIENCE)
    const request = http.get({ port, host: '127.0.0.1', agent: false, signal })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const chunks: Buffer[] = await response.toArray()
    if (response.statusCode !== 200) return { is: 'lost' }
    const worker = Number(response.headers['worker'])
    return { is: 'answered', worker, body: Buffer.concat(chunks).toString() }
  } catch (error) {
    const isRefused = (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'
    return { is: isRefused ? 'refused' : 'lost' }
  }
}

/** What came of asking again and again, one request at a time, until an answer was the wanted one. */
export interface Waited {
  /** Milliseconds. */
  readonly took: number
  readonly refused: number
  readonly lost: number
}

/** Asks every few milliseconds. @throws after 20 s */
export async function askUntil(
  port: number,
  fits: (answer: { worker: number; body: string }) => boolean,
): Promise<Waited> {
  const since = performance.now()
  const counts = { refused: 0, lost: 0 }
  for (;;) {
    const asked = await ask(port)
    const took = performance.now() - since
    if (asked.is !== 'answered') counts[asked.is]++
    else if (fits(asked)) return { took, ...counts }
    if (took > 20_000) throw new Error('Nobody has answered as wanted for 20 s')
    await pause(5)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

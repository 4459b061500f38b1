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

/** What came of asking every 10 ms, whatever became of those before, until an answer was the wanted one. */
export interface Waited {
  /** From the first on until that answer, in milliseconds. */
  readonly took: number
  readonly refused: number
  /** Reset, not answered within two seconds, or answered with an error. */
  readonly lost: number
}

/** Counts what became of all. @throws after 20 s without the wanted answer */
export async function askUntil(
  port: number,
  fits: (answer: { worker: number; body: string }) => boolean,
): Promise<Waited> {
  const since = performance.now()
  const counts = { refused: 0, lost: 0 }
  let took: number | undefined = undefined
  const one = async (): Promise<void> => {
    const asked = await ask(port)
    if (asked.is !== 'answered') counts[asked.is]++
    else if (fits(asked)) took ??= performance.now() - since
  }
  const all: Promise<void>[] = []
  while (took === undefined) {
    if (performance.now() - since > 20_000) throw new Error('No answer as wanted for 20 s')
    all.push(one())
    await pause(10)
  }
  await Promise.all(all)
  return { took, ...counts }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

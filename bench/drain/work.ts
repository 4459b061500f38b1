import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/** How far apart the chunks of a stream are, in milliseconds. */
const BETWEEN_CHUNKS = 100

/** What every rival does for a request, as its URL says: `/?id=a&wait=300&size=1000`. */
export interface Work {
  /** The handler tells under this name that it runs. */
  readonly id: string
  /** Keeps the event loop busy, in milliseconds. */
  readonly block: number
  /** Waits before the answer, in milliseconds; `Infinity`: never answers. */
  readonly wait: number
  /** The answer's length in bytes. */
  readonly size: number
  /** Streams for so many milliseconds, a chunk at a time; `Infinity`: for ever. */
  readonly stream: number
}

function workOf(url: string): Work {
  const query = new URL(url, 'http://bench').searchParams
  const number = (name: string): number => Number(query.get(name) ?? 0)
  return {
    id: query.get('id') ?? '',
    block: number('block'),
    wait: number('wait'),
    size: number('size'),
    stream: number('stream'),
  }
}

/** Does the work of a request; blocks, if that is the work, before it returns. */
export async function answer(url: string): Promise<Buffer | Readable> {
  const { id, block, wait, size, stream } = workOf(url)
  // Standard output is a pipe, which Node writes to at once on POSIX: the parent knows although the loop is blocked
  if (id) process.stdout.write(`ran ${id}\n`)
  if (block) keepBusy(block)
  // A promise alone holds no event loop: what a rival leaves behind is not the app's timer
  if (wait === Infinity) await new Promise(() => {})
  if (wait) await sleep(wait)
  return stream ? Readable.from(chunks(stream)) : Buffer.alloc(size, 'x')
}

function keepBusy(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until;);
}

async function* chunks(ms: number): AsyncGenerator<Buffer> {
  for (let passed = 0; passed < ms; passed += BETWEEN_CHUNKS) {
    yield Buffer.alloc(100, 'x')
    await sleep(BETWEEN_CHUNKS)
  }
}

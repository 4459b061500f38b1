/** What a server tells whoever measures it: where it listens, how much memory it takes, and when it has stopped. */
export function ready(address: object | string | null, stop: () => Promise<void>): void {
  const { port } = address as { port: number }
  process.send!({ port })
  process.on('message', (asked) => void answer(asked as string, stop))
}

async function answer(asked: string, stop: () => Promise<void>): Promise<void> {
  if (asked === 'memory') {
    for (let round = 0; round < 4; round++) {
      globalThis.gc!()
      await new Promise((resolve) => setImmediate(resolve))
    }
    const { rss, heapUsed, external } = process.memoryUsage()
    process.send!({ rss, heap: heapUsed, external })
  }
  if (asked === 'cpu') process.send!({ cpu: process.cpuUsage() })
  if (asked === 'stop') {
    await stop()
    process.send!({ stopped: true })
  }
}

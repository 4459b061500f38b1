import { drain } from '../../../dist/http/index.js'
import { listenAt, nodeServer } from '../node-server.ts'
import type { Place } from '../place.ts'

/** The example of `drain()`, in src/http/drain-server.ts: a server that steward has not made. */
export function listen(place: Place): Promise<number> {
  const server = nodeServer(place)
  process.on('SIGTERM', async () => {
    const { cut } = await drain(server, { within: '10s' })
    process.exitCode = cut.length === 0 ? 0 : 1
  })
  return listenAt(server, place)
}

import { listenAt, nodeServer } from '../node-server.ts'
import type { Place } from '../place.ts'

/** https://expressjs.com/en/advanced/healthcheck-graceful-shutdown.html: it has no timeout. */
export function listen(place: Place): Promise<number> {
  const server = nodeServer(place)
  process.on('SIGTERM', () => server.close())
  return listenAt(server, place)
}

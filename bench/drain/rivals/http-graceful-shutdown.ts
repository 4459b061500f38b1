import gracefulShutdown from 'http-graceful-shutdown'
import { listenAt, nodeServer } from '../node-server.ts'
import { TIMEOUT, type Place } from '../place.ts'

/** https://github.com/sebhildebrandt/http-graceful-shutdown#basic-usage */
export function listen(place: Place): Promise<number> {
  const server = nodeServer(place)
  gracefulShutdown(server, { timeout: TIMEOUT })
  return listenAt(server, place)
}

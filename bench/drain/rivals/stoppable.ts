import stoppable from 'stoppable'
import { listenAt, nodeServer } from '../node-server.ts'
import { TIMEOUT, type Place } from '../place.ts'

/** https://github.com/hunterloftis/stoppable#usage */
export function listen(place: Place): Promise<number> {
  const server = stoppable(nodeServer(place), TIMEOUT)
  process.on('SIGTERM', () => server.stop())
  return listenAt(server, place)
}

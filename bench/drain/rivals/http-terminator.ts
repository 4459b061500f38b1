import { createHttpTerminator } from 'http-terminator'
import { listenAt, nodeServer } from '../node-server.ts'
import { TIMEOUT, type Place } from '../place.ts'

/** https://github.com/gajus/http-terminator#usage */
export function listen(place: Place): Promise<number> {
  const server = nodeServer(place)
  const terminator = createHttpTerminator({ server, gracefulTerminationTimeout: TIMEOUT })
  process.on('SIGTERM', () => void terminator.terminate())
  return listenAt(server, place)
}

import { createTerminus } from '@godaddy/terminus'
import { listenAt, nodeServer } from '../node-server.ts'
import { TIMEOUT, type Place } from '../place.ts'

/**
 * https://github.com/godaddy/terminus#usage, `useExit0` as its section on Kubernetes says. The `beforeShutdown` that waits
 * there is a lame duck, which nobody has here.
 */
export function listen(place: Place): Promise<number> {
  const server = createTerminus(nodeServer(place), { timeout: TIMEOUT, useExit0: true })
  return listenAt(server, place)
}

import { rooms, service } from 'steward'
import { database, feed, queue, tables } from './resources.ts'
import { app } from './routes.ts'

/** What every page shows when the service stops or is reloaded. Connections are still open, and their messages are still taken. */
const goodbye = 'The chat goes away for a moment. What has been said is kept.'

export default service({
  name: 'chat',
  app,
  // What only `run` opens in a handler cannot be seen beforehand: the queue is listed, so that it is open at the start
  resources: { database, feed, queue, rooms },
  prepare: tables,
  onShutdown: ({ rooms }) => rooms.tellAll(JSON.stringify({ goodbye })),
  gracefulTimeout: '10s',
})

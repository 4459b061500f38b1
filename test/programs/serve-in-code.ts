import { serve, service } from '../../src/index.ts'
import { pause, stayAlive } from '../helpers/pause.ts'
import { tell } from './tell.ts'

const count = (): number =>
  ['SIGTERM', 'SIGINT', 'SIGHUP'].reduce((sum, name) => sum + process.listenerCount(name), 0)

const app = { fetch: () => new Response('hello') }
const one = await serve(service({ app, gracefulTimeout: '100ms' }), { port: 0 })
const other = await serve(service({ app, gracefulTimeout: '100ms' }), { port: 0 })
const during = count()
await one.stop()
await other.stop()
tell('closed', { during })

stayAlive()
while (count() > 0) await pause(5)
tell('listeners.gone')
// Longer than a watchdog of theirs would wait
await pause(1_500)
tell('alive')

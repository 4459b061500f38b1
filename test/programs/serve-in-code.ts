import { serve, service } from '../../src/index.ts'
import { tell } from './tell.ts'

const count = (): number =>
  ['SIGTERM', 'SIGINT', 'SIGHUP'].reduce((sum, name) => sum + process.listenerCount(name), 0)

const app = { fetch: () => new Response('hello') }
const one = await serve(service({ app }), { port: 0 })
const other = await serve(service({ app }), { port: 0 })
const during = count()
await one.stop()
await other.stop()
tell('closed', { during })

const look = setInterval(() => {
  if (count() > 0) return
  tell('listeners.gone')
  clearInterval(look)
  // Alive until somebody ends it
  setInterval(() => {}, 60_000)
}, 5)

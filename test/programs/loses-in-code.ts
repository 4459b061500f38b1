import { perApp, serve, service } from '../../src/index.ts'
import { tell } from './tell.ts'

const db = perApp(function* () {
  yield 'db'
  tell('app.closed')
})

await serve(service({ resources: { db } }), { port: 0 })
setImmediate(() => {
  throw new Error('nobody caught this')
})

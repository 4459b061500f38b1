import { perApp, service } from '../../src/index.ts'
import { tell } from './tell.ts'

const connection = perApp(function* ({ fail }) {
  const lost = (): void => fail(new Error('connection lost'))
  if (process.env['WHEN'] === 'start') queueMicrotask(lost)
  yield { lost }
  tell('app.closed')
})

const slow = perApp({ connection }, async () => {
  await new Promise((resolve) => setImmediate(resolve))
})

export default service({
  resources: { connection, slow },
  onStartup: ({ connection }) => void setImmediate(connection.lost),
})

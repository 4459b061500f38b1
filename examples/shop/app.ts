import { service } from 'steward'
import { database, diary, shelves } from './resources.ts'
import { app } from './routes.ts'

export default service({
  name: 'shop',
  app,
  resources: { database, diary },
  prepare: shelves,
  onStartup: ({ diary }) => diary.write('The shop opens'),
  onShutdown: ({ diary }) => diary.write('The shop is about to close; everybody is still here'),
  onDrained: ({ diary }) => diary.write('The shop has closed, the last customer is gone'),
  gracefulTimeout: '10s',
})

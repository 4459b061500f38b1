import { perApp, service } from '../../src/index.ts'
import { tell } from './tell.ts'

const busy = perApp(() => {
  tell('app.blocking')
  for (;;);
})

export default service({ resources: { busy } })

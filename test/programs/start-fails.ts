import { perApp, service } from '../../src/index.ts'
import { tell } from './tell.ts'

const first = perApp(function* () {
  tell('app.opened')
  yield 'first'
  tell('app.closed')
})

const second = perApp({ first }, () => {
  throw new Error('nobody there')
})

export default service({ resources: { second } })

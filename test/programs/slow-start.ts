import { perApp, service } from '../../src/index.ts'
import { tell } from './tell.ts'

const first = perApp(function* () {
  yield 'first'
  tell('app.closed')
})

const slow = perApp({ first }, async (_, { opening }) => {
  tell('app.opening')
  await new Promise((resolve) => {
    if (process.env['KIND'] === 'heeds') opening.addEventListener('abort', resolve)
  })
  opening.throwIfAborted()
})

export default service({ resources: { slow } })

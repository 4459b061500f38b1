import { Hono } from 'hono'
import { perApp, service } from '../../src/index.ts'
import { inject } from '../../src/adapters/hono.ts'
import { tell } from './tell.ts'

// Everything here is late at once: whatever is waited for never comes

const never = new Promise<never>(() => {})

const db = perApp(function* () {
  yield 'db'
  tell('app.closed')
})

const stuckClose = perApp({ db }, async function* () {
  yield 'stuck'
  await never
})

const stuckOpen = perApp({ db }, () => {
  tell('app.opening')
  return never
}, { lazy: true }) // oxfmt-ignore

const app = new Hono()
  .get('/hang', () => {
    tell('app.handling')
    return never
  })
  .get('/opens', inject({ stuckOpen }), (c) => c.text('never'))

export default service({
  app,
  resources: { stuckClose },
  onShutdown: () => never,
  onDrained: () => never,
  async *lifespan() {
    yield
    await never
  },
})

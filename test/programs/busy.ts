import { perApp, service, stopping } from '../../src/index.ts'
import { inject } from '../../src/adapters/hono.ts'
import { Hono } from 'hono'
import { pause } from '../helpers/pause.ts'
import { tell } from './tell.ts'

/** What misbehaves, given by the test. */
const { CLOSE, HOOK, BLOCK_FOR = 'Infinity' } = process.env

/** Keeps the event loop for as long as the test says, or for ever. */
function block(what: string): void {
  tell('app.blocking', { what })
  const until = performance.now() + Number(BLOCK_FOR)
  while (performance.now() < until);
}

const db = perApp(async function* () {
  yield 'db'
  tell('app.closing')
  if (CLOSE === 'block') block('close')
  if (CLOSE === 'stuck') await new Promise(() => {})
  if (CLOSE === 'throws') throw new Error('db will not close')
  tell('app.closed', { name: 'db' })
})

const pool = perApp({ db }, function* () {
  yield 'pool'
  tell('app.closed', { name: 'pool' })
})

const lost = (message: string): void =>
  void setImmediate(() => {
    throw new Error(message)
  })

const app = new Hono()
  .get('/', (c) => c.text('hello'))
  .post('/echo', async (c) => {
    tell('app.handling')
    return c.text(await c.req.text())
  })
  // The recipe that fails elsewhere: a handler that goes on until the stop
  .get('/loop', inject({ stopping }), async (c) => {
    tell('app.handling')
    while (!c.var.stopping.aborted) await pause(20, c.var.stopping)
    return c.text('stopped')
  })
  .get('/hang', () => {
    tell('app.handling')
    return new Promise<Response>(() => {})
  })
  .get('/block', (c) => {
    block('handler')
    return c.text('unblocked')
  })
  .get('/exit', () => process.exit(0))
  .get('/throw', (c) => {
    lost('nobody caught this')
    return c.text('thrown')
  })
  .get('/reject', (c) => {
    void Promise.reject(new Error('nobody awaited this'))
    return c.text('rejected')
  })

export default service({
  app,
  resources: { pool },
  async onShutdown() {
    tell('app.told')
    if (HOOK === 'loses') lost('another one')
    if (HOOK === 'throws') throw new Error('no goodbye')
    // Until what was thrown has come
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  },
})
process.on('exit', () => tell('app.exit'))

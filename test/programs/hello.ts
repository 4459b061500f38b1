import { Hono } from 'hono'
import { perApp, service } from '../../src/index.ts'
import { inject } from '../../src/adapters/hono.ts'

const greeting = perApp(async function* () {
  yield 'hello'
})

const app = new Hono().get('/', inject({ greeting }), (c) => c.text(c.var.greeting))

export default service({ app })

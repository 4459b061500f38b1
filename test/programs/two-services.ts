import { perApp, serve, service } from '../../src/index.ts'
import { pause } from '../helpers/pause.ts'
import { tell } from './tell.ts'

const app = { fetch: () => new Response('hello') }

/** Longer than what a process gets to end by itself. */
const slow = perApp(async function* () {
  yield 'slow'
  await pause(300)
  tell('slow.closed')
})

const quick = perApp(function* () {
  yield 'quick'
  tell('quick.closed')
})

await serve(service({ app, resources: { slow } }), { port: 0 })
await serve(service({ app, resources: { quick } }), { port: 0 })
tell('ready')

import { pause } from '../helpers/pause.ts'
import { tell } from './tell.ts'

tell('app.loading')
await pause(60_000)

export default { fetch: () => new Response('') }

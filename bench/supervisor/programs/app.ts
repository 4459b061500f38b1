/** What `steward serve` serves. With `EXCLUSIVE=1` it holds what only one process may hold. */
import { perApp, service } from '../../../dist/index.js'
import { answer } from './answer.ts'

const held = perApp(() => 'held', { exclusive: process.env['EXCLUSIVE'] === '1' })

export default service({ app: answer, resources: { held } })

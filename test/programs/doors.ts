import assert from 'node:assert/strict'
import { perApp, perHandler, perRequest, service } from '../../src/index.ts'
import { route, type Door } from '../helpers/door.ts'
import { expressDoor, expressMiddlewareDoor, expresses } from '../helpers/express-door.ts'
import { fastifyDoor, fastifyHookDoor } from '../helpers/fastify-door.ts'
import { honoDoor } from '../helpers/hono-door.ts'
import { koaDoor, koaMiddlewareDoor } from '../helpers/koa-door.ts'
import { nestDoor, platforms } from '../helpers/nest-door.ts'
import { nodeDoor } from '../helpers/node-door.ts'

// The same app in each framework: DOOR says in which. It echoes, and fails where something it uses has been closed.

const doors: readonly Door[] = [
  honoDoor,
  nodeDoor,
  fastifyDoor,
  fastifyHookDoor,
  koaDoor,
  koaMiddlewareDoor,
  ...Object.entries(expresses).map(([name, make]) => expressDoor(name, make)),
  ...Object.entries(expresses).map(([name, make]) => expressMiddlewareDoor(name, make)),
  ...platforms.map(nestDoor),
]

/** What all that answer stand on, with each way to live that there is. */
interface Unit {
  open: boolean
}

const pool = perApp(async function* () {
  yield* unit()
})
const session = perRequest({ pool }, async function* ({ pool }) {
  assert.ok(pool.open)
  yield* unit()
  assert.ok(pool.open)
})
const transaction = perHandler({ session }, async function* ({ session }) {
  assert.ok(session.open)
  yield* unit()
  assert.ok(session.open)
})

function* unit(): Generator<Unit, void, unknown> {
  const one = { open: true }
  yield one
  one.open = false
}

const echo = route({ pool, session, transaction }, async ({ transaction }, asked) => {
  const body = await asked.text()
  assert.ok(transaction.open)
  return { headers: { worker: String(process.pid) }, body }
})

const door = doors.find(({ name }) => name === process.env['DOOR'])
if (!door) throw new Error(`DOOR is none of ${doors.map(({ name }) => name).join(', ')}`)

export default service({ app: door.app({ '/': echo }) })

import { addClientTests } from '../helpers/client-suite.ts'
import { addScopeTests } from '../helpers/door-suite.ts'
import { platforms } from '../helpers/nest-door.ts'
import { fastifyOwnDoor, koaOwnDoor, nestOwnDoor } from '../helpers/own-doors.ts'
import { overHttp } from '../helpers/way.ts'
import { addWritingTests } from '../helpers/writing-suite.ts'

// What a handler writes to Node's response past its framework is held or refused like any other answer (R11)

for (const door of [koaOwnDoor, fastifyOwnDoor, ...platforms.map(nestOwnDoor)]) {
  addScopeTests(overHttp(door))
  addClientTests(door)
  addWritingTests(door)
}
